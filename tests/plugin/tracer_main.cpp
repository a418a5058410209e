#include "tracer.hpp"
#include <cstdio>
#include <iostream>

static Tracer local("main");

struct Derived : Base {
    int id() const override { return 7; }
};

int main() {
    try {
        may_throw(3);
    } catch (std::runtime_error &e) {
        std::cout << "caught " << e.what() << std::endl;
    }
    counter();
    Base *made = make();
    Derived derived;
    int count = counter();
    int id = made->id();
    std::printf("%d %d %d %zu\n", count, id, derived.id(), Registry<int>::entries.size());
    delete made;
}
