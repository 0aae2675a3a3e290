#define _GNU_SOURCE
#include "xpr_aio.h"

#include <fcntl.h>
#include <linux/aio_abi.h>
#include <sys/syscall.h>
#include <unistd.h>

int xpr_aio_setup(unsigned count, unsigned long *queue)
{
    aio_context_t context = 0;
    int result = (int)syscall(SYS_io_setup, count, &context);
    *queue = context;
    return result;
}

int xpr_aio_write(unsigned long queue, int file, const void *bytes, size_t count, int64_t offset, uint64_t tag)
{
    struct iocb block = {
        .aio_data = tag,
        .aio_lio_opcode = IOCB_CMD_PWRITE,
        .aio_fildes = (uint32_t)file,
        .aio_buf = (uintptr_t)bytes,
        .aio_nbytes = count,
        .aio_offset = offset,
    };
    struct iocb *blocks = &block;
    return (int)syscall(SYS_io_submit, queue, 1L, &blocks);
}

int xpr_aio_wait(unsigned long queue, uint64_t *tag, int64_t *result)
{
    struct io_event event;
    int count = (int)syscall(SYS_io_getevents, queue, 1L, 1L, &event, (struct timespec *)0);
    if (count == 1) {
        *tag = event.data;
        *result = event.res;
    }
    return count;
}

int xpr_reserve_blocks(int file, int64_t offset, int64_t length)
{
    return fallocate(file, 0, offset, length);
}
