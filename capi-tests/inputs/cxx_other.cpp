// The other half: the same inline function, and a function that code generation may call.
#include <string>

inline int counted(int x) {
  static int n = 3;
  return x + n++;
}
int other(int x) { return counted(x) + (int)std::string(x, 'c').size(); }
extern "C" void *memcpy(void *to, const void *from, unsigned long n) {
  char *a = (char *)to;
  const char *b = (const char *)from;
  while (n--)
    *a++ = *b++;
  return to;
}
