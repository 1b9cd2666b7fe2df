/*
 * The interrupt that a device sends by a message, again and again the same one: the counterpart of struct doorbell (core/aspace.h).
 *
 * An engine may take a message over: then the device only counts an event, and the kernel delivers it. Under every other engine, and while a message is
 * still new, it is sent as it is. Masks are the device's affair: it sends nothing then. Zeroed: nothing sent yet. Locks: machine lock.
 */
#ifndef CORE_NOTIFIER_H
#define CORE_NOTIFIER_H
#include "core/types.h"

struct vm;

struct notifier {
    uint64_t addr; uint32_t data;              /* the message sent last */
    bool refused;                              /* ... which the engine did not take */
    int fd;                                    /* the engine's event for it; 0: none */
    unsigned route;                            /* the engine's */
};

/* True: sent. False: the caller sends the message itself. */
bool notifier_send(struct vm *, struct notifier *, uint64_t addr, uint32_t data);
/* The message will not be sent any more, so what the engine has for it is free. What was sent arrives first. */
void notifier_release(struct vm *, struct notifier *);
#endif
