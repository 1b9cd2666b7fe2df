/*
 * Network back ends: Ethernet frames (no FCS, at most NET_MAX_FRAME bytes) between a network card and the host. Frames for the guest are
 * queued (bounded, oldest first; overflow drops) while the card has no buffer; the card calls netdev_flush when it has some again.
 *
 * Locks: everything runs with the machine lock held; receive is never called from inside netdev_send (frames that the back end produces
 * while it takes one are queued and delivered by a posted callback).
 */
#ifndef HOST_NET_H
#define HOST_NET_H
#include "core/clock.h"
#include "core/loop.h"

#define NET_MAX_FRAME 65550u

struct netdev {
    const char *kind;                                         /* "user", "tap", "null" */
    char id[32];
    /* back end */
    void (*output)(struct netdev *, const uint8_t *frame, size_t len);
    void (*shut)(struct netdev *);
    struct loop *loop;
    /* front end */
    bool (*can_receive)(void *opaque);
    void (*receive)(void *opaque, const uint8_t *frame, size_t len);
    void *opaque;
    /* frames waiting for the guest */
    struct net_frame *head, **tail;
    unsigned queued, dropped;
    bool posted, in_flush;
};

void netdev_send(struct netdev *, const uint8_t *frame, size_t len);         /* guest to world; ND may be NULL (nothing plugged in) */
void netdev_set_receiver(struct netdev *, bool (*can_receive)(void *), void (*receive)(void *, const uint8_t *, size_t), void *opaque);
void netdev_flush(struct netdev *);                                          /* the card has buffers again; ND may be NULL */
void netdev_close(struct netdev *);

/* From the words of -netdev: "user[,id=..][,net=A.B.C.D/N][,host=..][,dns=..][,dhcpstart=..][,hostname=..][,domainname=..][,restrict=on|off]
   [,ipv6=on|off][,tftp=DIR][,bootfile=F][,hostfwd=RULE]..." | "tap[,id=..][,ifname=..]" | "none". NULL with a one-line reason in ERR. */
struct netdev *netdev_open(struct loop *, struct clock *, const char *spec, char *err, size_t errlen);
/* Back ends, for netdev_open. */
struct netdev *netdev_user_new(struct loop *, struct clock *, const char *opts, char *err, size_t errlen);
struct netdev *netdev_tap_new(struct loop *, const char *opts, char *err, size_t errlen);
struct netdev *netdev_null_new(struct loop *);
/* For back ends: a frame from the world. */
void netdev_deliver(struct netdev *, const uint8_t *frame, size_t len);
void netdev_init(struct netdev *, struct loop *, const char *kind);

/* hostfwd rule "[tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport"; addresses in network byte order, guest 0 = the DHCP start. 0 or -EINVAL
   with the reason in ERR. */
struct hostfwd { bool udp; uint32_t host_addr, guest_addr; uint16_t host_port, guest_port; };
int hostfwd_parse(const char *rule, struct hostfwd *, char *err, size_t errlen);
/* Monitor: add a rule to a running user network. */
int netdev_user_hostfwd_add(struct netdev *, const char *rule, char *err, size_t errlen);
#endif
