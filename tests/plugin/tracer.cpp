#include "tracer.hpp"
#include <cstdio>

Tracer::Tracer(const char *name) : name(name) { std::printf("+%s\n", name); }
Tracer::~Tracer() { std::printf("-%s\n", name); }

static Tracer local("tracer");
__attribute__((init_priority(200))) Tracer early("early");

struct Other : Base {
    int id() const override { return 9 + counter(); }
};

Base *make() { return new Other; }

int may_throw(int x) {
    Registry<int>::entries.push_back(5);
    if (x > 2) throw std::runtime_error("number " + std::to_string(x));
    return x;
}
