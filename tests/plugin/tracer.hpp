// Inline functions with statics, a template's static member, an inline variable with a
// constructor: all in comdats, in both translation units.
#pragma once
#include <stdexcept>
#include <string>
#include <vector>

struct Base {
    virtual ~Base() {}
    virtual int id() const { return 0; }
};

inline int counter() {
    static int n = 0;
    return ++n;
}

template <class T> struct Registry {
    static std::vector<T> entries;
};
template <class T> std::vector<T> Registry<T>::entries = {T(1), T(2)};

struct Tracer {
    Tracer(const char *name);
    ~Tracer();
    const char *name;
};

inline Tracer shared_tracer("shared");

int may_throw(int);
Base *make();
