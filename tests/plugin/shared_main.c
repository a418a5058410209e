#include <stdio.h>
int exported(int), ask_program(void), call_assembly(void), versioned(void);
extern int exported_variable;
extern __thread int thread_variable;
int from_program(void) { return 11; }
int main(void) {
    printf("%d %d %d %d %d %d\n", exported(3), exported_variable, thread_variable, ask_program(),
           call_assembly(), versioned());
    return 0;
}
