#ifndef XPR_AIO_H
#define XPR_AIO_H

#include <stddef.h>
#include <stdint.h>

// Linux's asynchronous I/O (io_submit(2)), for which glibc has no functions. Every function returns what its system call returns, with errno set.

/// Makes a queue for `count` operations at once (io_setup(2)).
int xpr_aio_setup(unsigned count, unsigned long *queue);

/// Begins to write; `bytes` must stay until the operation has ended (io_submit(2)).
int xpr_aio_write(unsigned long queue, int file, const void *bytes, size_t count, int64_t offset, uint64_t tag);

/// Waits until an operation has ended, and says which, and what a write would have returned, or minus the error's number (io_getevents(2)).
int xpr_aio_wait(unsigned long queue, uint64_t *tag, int64_t *result);

/// Takes blocks for a part of a file, which becomes as long as the part needs (fallocate(2)).
int xpr_reserve_blocks(int file, int64_t offset, int64_t length);

#endif
