__attribute__((visibility("hidden"))) int hidden_function(int x) { return x * 2; }
__attribute__((visibility("protected"))) int protected_function(int x) { return x * 5; }
static int local_function(int x) { return x + 1; }
int exported(int x) { return hidden_function(x) + local_function(x) + protected_function(x); }
int exported_variable = 4;
__thread int thread_variable = 3;

int from_program(void) __attribute__((weak));
int ask_program(void) { return from_program ? from_program() : -1; }

/* Two versions of a symbol, and a function of module assembly. */
int old_version(void) { return 1; }
int new_version(void) { return 2; }
__asm__(".symver old_version, versioned@V1\n"
        ".symver new_version, versioned@@V2\n"
        ".text\n"
        ".globl in_assembly\n"
        ".type in_assembly,@function\n"
        "in_assembly:\n movl $77, %eax\n ret\n");
int in_assembly(void);
int call_assembly(void) { return in_assembly(); }
