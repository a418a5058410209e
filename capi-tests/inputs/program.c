/* A program of one file, with what symbol tables have: weak, common, static, constructors. */
extern int printf(const char *, ...);
static int counter;
__attribute__((weak)) int weak_one(void) { return 3; }
int common_one;
__attribute__((visibility("hidden"))) int hidden_one = 4;
const int constant_one = 6;
__attribute__((constructor)) static void prepare(void) { counter = 5; }
int helper(int x) { return x * 3 + counter; }
int main(void) {
  printf("%d\n", helper(2) + weak_one() + common_one + hidden_one + constant_one);
  return 0;
}
