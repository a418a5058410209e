int replaced(void) { return 2; }
int data = 6;
int jump(int i) { return i + 1; }
