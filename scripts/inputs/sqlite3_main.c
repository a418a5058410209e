/* A small SQL shell: statements from the file named, rows to standard output, columns parted by '|'. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "sqlite3.h"

static int print_row(void *unused, int columns, char **values, char **names) {
    (void)unused;
    (void)names;
    for (int i = 0; i < columns; i++)
        printf("%s%s", i ? "|" : "", values[i] ? values[i] : "NULL");
    putchar('\n');
    return 0;
}

/* A user function: the callback crosses from the library's code back into this module. */
static void digit_sum(sqlite3_context *context, int argc, sqlite3_value **argv) {
    sqlite3_int64 n = argc == 1 ? sqlite3_value_int64(argv[0]) : 0, sum = 0;
    for (; n > 0; n /= 10)
        sum += n % 10;
    sqlite3_result_int64(context, sum);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: %s FILE.sql\n", argv[0]);
        return 2;
    }
    FILE *file = fopen(argv[1], "rb");
    if (!file) {
        perror(argv[1]);
        return 2;
    }
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    char *sql = malloc((size_t)size + 1);
    if (!sql || fread(sql, 1, (size_t)size, file) != (size_t)size)
        return 2;
    sql[size] = 0;
    fclose(file);

    sqlite3 *db = NULL;
    char *message = NULL;
    if (sqlite3_open(":memory:", &db) != SQLITE_OK ||
        sqlite3_create_function(db, "digit_sum", 1, SQLITE_UTF8, NULL, digit_sum, NULL, NULL) != SQLITE_OK ||
        sqlite3_exec(db, sql, print_row, NULL, &message) != SQLITE_OK) {
        fprintf(stderr, "sqlite3: %s\n", message ? message : sqlite3_errmsg(db));
        return 1;
    }
    sqlite3_close(db);
    free(sql);
    return 0;
}
