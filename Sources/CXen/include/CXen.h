#ifndef XPR_CXEN_H
#define XPR_CXEN_H
// Xen's user-space libraries, and the thinnest shims over what Swift cannot import of them.
#include <xenctrl.h>
#include <xen/hvm/save.h>
#include <xenforeignmemory.h>
#include <xenstore.h>

// A logger of Xen's libraries that says nothing: errors reach the caller as errno, once, instead of on stderr as well.
xentoollog_logger *xpr_silent_logger(void);
#endif
