/* What an alias stands for may lose against another definition while the alias does not. */
#include <stdio.h>
__attribute__((weak)) int replaced(void) { return 1; }
int kept(void) __attribute__((alias("replaced")));
__attribute__((weak)) int data = 5;
extern int kept_data __attribute__((alias("data")));
static void *resolve(void) { return kept; }
int chosen(void) __attribute__((ifunc("resolve")));

/* A table of addresses of blocks, used from outside of the function that has them. */
__attribute__((weak)) int jump(int i) {
    static void *const table[] = {&&a, &&b};
    goto *table[i];
a:
    return 100;
b:
    return 200;
}

int main(void) {
    printf("%d %d %d %d %d %d\n", replaced(), kept(), data, kept_data, chosen(), jump(1));
    return 0;
}
