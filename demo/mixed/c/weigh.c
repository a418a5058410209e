/* The C side of the mixed program: compiled by clang to bitcode, called from Rust. */
#include <stdint.h>

uint32_t weigh(uint32_t value) {
    return value * 2654435761u >> 7 ^ value;
}

/* Calls back into Rust. */
extern uint32_t rust_limit(uint32_t value);
uint32_t weigh_all(const uint32_t *values, uint32_t count) {
    uint32_t sum = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += rust_limit(weigh(values[i]));
    return sum;
}
