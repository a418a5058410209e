// What makes internalizing hard: comdats, inline statics, virtual functions, exceptions, an ifunc,
// an alias, assembly that calls and is called, a thread-local, constructors.
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

struct Base {
  virtual ~Base() {}
  virtual int f() { return 1; }
};
struct Derived : Base {
  int f() override { return 2; }
};
inline int counted(int x) {
  static int n = 3;
  return x + n++;
}
template <class T> T square(T a) { return a * a; }
std::vector<std::string> names = {"a", "b"};
extern int other(int);
extern "C" int aliased(int x) { return x ^ 3; }
extern "C" int alias(int x) __attribute__((alias("aliased")));
thread_local int local = 0;
int common_thing;
__attribute__((used)) static int kept(void) { return 9; }
static int target(void) { return 5; }
extern "C" {
__attribute__((used)) static int (*resolver(void))(void) { return target; }
int chosen(void) __attribute__((ifunc("_ZL8resolverv")));
}
asm(".globl from_assembly\nfrom_assembly: jmp to_assembly\n");
extern "C" int to_assembly() { return 5; }
extern "C" int from_assembly();

int main(int argc, char **) {
  try {
    if (argc < 5)
      throw std::runtime_error("thrown");
  } catch (std::exception &e) {
    puts(e.what());
  }
  Base *base = argc > 2 ? new Base : new Derived;
  printf("%d %d %d %d %zu\n", base->f(), counted(argc) + square(argc) + other(argc), chosen(),
         from_assembly(), names.size());
  delete base;
  return local;
}
