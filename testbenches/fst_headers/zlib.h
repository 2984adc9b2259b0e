// SPDX-License-Identifier: Apache-2.0
// The part of zlib that Verilator's FST writer calls, for machines without zlib's header: a zlib stream of stored
// blocks. Any reader of zlib takes it; it is only not smaller, and where it is not, the writer keeps the bytes as they are.
#ifndef FXSIM_ZLIB_H
#define FXSIM_ZLIB_H

#include <cstdint>
#include <cstring>

using Bytef = unsigned char;
using uLong = unsigned long;
using uLongf = unsigned long;
#define Z_OK 0
#define Z_BUF_ERROR (-5)

inline uLong compressBound(uLong size) { return size + 5 * (size / 65535 + 1) + 6; }

inline int compress2(Bytef* target, uLongf* capacity, const Bytef* source, uLong size, int) {
    if (*capacity < compressBound(size)) return Z_BUF_ERROR;
    Bytef* at = target;
    *at++ = 0x78;  // deflate, a window of 32 kB
    *at++ = 0x01;
    uLong done = 0;
    do {
        const uLong some = size - done < 65535 ? size - done : 65535;
        *at++ = done + some == size;  // a stored block, the last one or not
        *at++ = static_cast<Bytef>(some);
        *at++ = static_cast<Bytef>(some >> 8);
        *at++ = static_cast<Bytef>(~some);
        *at++ = static_cast<Bytef>(~some >> 8);
        std::memcpy(at, source + done, some);
        at += some;
        done += some;
    } while (done < size);
    uint32_t low = 1, high = 0;  // Adler-32
    for (uLong index = 0; index < size; ++index) {
        low = (low + source[index]) % 65521;
        high = (high + low) % 65521;
    }
    for (const uint32_t half : {high, low}) {
        *at++ = static_cast<Bytef>(half >> 8);
        *at++ = static_cast<Bytef>(half);
    }
    *capacity = static_cast<uLong>(at - target);
    return Z_OK;
}

#endif
