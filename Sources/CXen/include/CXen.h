#ifndef XPR_CXEN_H
#define XPR_CXEN_H
// Xen's user-space libraries, and the thinnest shims over what Swift cannot import of them.
#include <xenctrl.h>
#include <xenforeignmemory.h>
#include <xenstore.h>
#endif
