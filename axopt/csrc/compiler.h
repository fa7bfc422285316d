/* Macros where GCC and Clang differ: the instruction set of a file's functions, and shuffles.
 *
 * AXK_BEGIN_TARGET("avx2") comes after the last #include of a system header, AXK_END_TARGET at the
 * end of the file. A file names its instruction set itself, because the build compiles all files
 * with the same flags and the choice between instruction sets is made at run time.
 */
#ifndef AXK_COMPILER_H
#define AXK_COMPILER_H

#define AXK_INLINE static inline __attribute__((always_inline))

#define AXK_PRAGMA(text) _Pragma(#text)

#if defined(__clang__)
#define AXK_BEGIN_TARGET(features) \
    AXK_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define AXK_END_TARGET AXK_PRAGMA(clang attribute pop)
#define AXK_PREFER_512
#else
#define AXK_BEGIN_TARGET(features) \
    AXK_PRAGMA(GCC push_options)   \
    AXK_PRAGMA(GCC target(features))
#define AXK_END_TARGET AXK_PRAGMA(GCC pop_options)
/* GCC splits plain loops and vector types into 256-bit vectors unless told otherwise. */
#define AXK_PREFER_512 AXK_PRAGMA(GCC target("prefer-vector-width=512"))
#endif

/* The elements of vectors a and b, which have the same type, at the given positions of a then b.
 * GCC has __builtin_shufflevector from release 12 on. */
#if __has_builtin(__builtin_shufflevector)
#define AXK_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define AXK_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (__typeof__(a)){__VA_ARGS__})
#endif

#endif
