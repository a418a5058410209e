/* What a source asks of the linker. */
#pragma comment(lib, "m")
#pragma comment(lib, "pthread")
int answer(void) { return 42; }
