extern int helper(int);
int main(int argc, char **argv) {
  (void)argv;
  return helper(argc) != 11;
}
