extern int puts(const char *);
int data_one = 3;
const int constant_one = 7;
__attribute__((visibility("hidden"))) int hidden_one(int x) { return x + data_one; }
__attribute__((weak)) int weak_one(int x) { return x + constant_one; }
int helper(int x) { return weak_one(x) + hidden_one(0); }
int unused(int x) { return puts("nobody calls this") + x; }
