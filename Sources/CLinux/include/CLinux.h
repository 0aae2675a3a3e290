#ifndef XPR_CLINUX_H
#define XPR_CLINUX_H
// Linux system calls and macros that Swift's Glibc module does not import.
#include "xpr_agent.h"
#include "xpr_aio.h"
#include "xpr_minor.h"
#endif
