#include "CXen.h"

static void silent_message(xentoollog_logger *logger, xentoollog_level level, int errnoval, const char *context,
                           const char *format, va_list al)
{
}

static void silent_progress(xentoollog_logger *logger, const char *context, const char *doing, int percent,
                            unsigned long done, unsigned long total)
{
}

static void silent_destroy(xentoollog_logger *logger)
{
}

xentoollog_logger *xpr_silent_logger(void)
{
    static xentoollog_logger logger = {silent_message, silent_progress, silent_destroy};
    return &logger;
}
