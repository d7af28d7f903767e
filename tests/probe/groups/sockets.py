"""Sockets: every family by every type."""

import ctypes
import os
import socket
import struct

from harness import Want, attempt, call_result, errno_name, in_child

FAMILIES = {
    0: "UNSPEC", 1: "UNIX", 2: "INET", 3: "AX25", 4: "IPX", 5: "APPLETALK", 6: "NETROM", 7: "BRIDGE", 8: "ATMPVC", 9: "X25",
    10: "INET6", 11: "ROSE", 12: "DECnet", 13: "NETBEUI", 14: "SECURITY", 15: "KEY", 16: "NETLINK", 17: "PACKET", 18: "ASH",
    19: "ECONET", 20: "ATMSVC", 21: "RDS", 22: "SNA", 23: "IRDA", 24: "PPPOX", 25: "WANPIPE", 26: "LLC", 27: "IB", 28: "MPLS",
    29: "CAN", 30: "TIPC", 31: "BLUETOOTH", 32: "IUCV", 33: "RXRPC", 34: "ISDN", 35: "PHONET", 36: "IEEE802154", 37: "CAIF",
    38: "ALG", 39: "NFC", 40: "VSOCK", 41: "KCM", 42: "QIPCRTR", 43: "SMC", 44: "XDP", 45: "MCTP",
}
TYPES = {"stream": 1, "dgram": 2, "raw": 3, "rdm": 4, "seqpacket": 5, "dccp": 6, "packet": 10}
SOCKET, SOCKETPAIR = 41, 53
REFUSED = "EAFNOSUPPORT|EPERM|EACCES"


def made(family, kind, protocol=0):
    result, code = call_result(SOCKET, family, kind, protocol)
    if result < 0:
        return errno_name(code)
    os.close(result)
    return "ok"


def paired(family, kind):
    pair = (ctypes.c_int * 2)()
    result, code = call_result(SOCKETPAIR, family, kind, 0, pair)
    if result < 0:
        return errno_name(code)
    os.close(pair[0])
    os.close(pair[1])
    return "ok"


def expected(family, kind, context):
    if family == 1:
        return "ok" if kind in (1, 2, 5) else Want("ok or refused", lambda a: True)
    if family in (2, 10) and kind in (1, 2):
        if context.strict:
            return REFUSED
        # Without IPv6 in the kernel the family is unknown to it.
        return "ok" if family == 2 else "ok|EAFNOSUPPORT"
    if family == 16 and kind in (2, 3):
        return REFUSED if context.strict else "ok"
    if family == 16:
        return REFUSED + "|ESOCKTNOSUPPORT"
    return REFUSED


def run(probe, context):
    check = probe.check
    for family, name in FAMILIES.items():
        for kind_name, kind in TYPES.items():
            check(f"{name}-{kind_name}", expected(family, kind, context), lambda f=family, k=kind: made(f, k),
                  "other families load kernel modules, and many holes were found in them")
    for family in (46, 47, 48, 64, 100, 255, 65535, -1):
        check(f"family-{family}", REFUSED, lambda f=family: made(f, 1), "no family of a later kernel")
    for family in (2, 10, 16, 17, 30, 40):
        check(f"pair-{FAMILIES[family]}", REFUSED + "|EOPNOTSUPP", lambda f=family: paired(f, 1), "pairs are local")
    for kind_name in ("stream", "dgram", "seqpacket"):
        check(f"pair-UNIX-{kind_name}", "ok", lambda k=TYPES[kind_name]: paired(1, k), "pipes of multiprocessing")
    for name, protocol in {"ICMP": 1, "IGMP": 2, "SCTP": 132, "UDPLITE": 136, "MPTCP": 262, "RAW": 255, "DCCP": 33, "L2TP": 115, "ESP": 50}.items():
        for kind_name in ("stream", "dgram", "raw", "seqpacket"):
            check(f"INET-{kind_name}-{name}", REFUSED, lambda k=TYPES[kind_name], p=protocol: made(2, k, p), "only TCP and UDP have a use")
        check(f"INET6-dgram-{name}", REFUSED, lambda p=protocol: made(10, 2, p), "the same for IPv6")
    check("INET-smc", REFUSED, lambda: made(2, 1, 256), "SMC by another way")
    for name, protocol in {
        "USERSOCK": 2, "FIREWALL": 3, "SOCK_DIAG": 4, "NFLOG": 5, "XFRM": 6, "SELINUX": 7, "ISCSI": 8, "AUDIT": 9, "FIB_LOOKUP": 10,
        "CONNECTOR": 11, "NETFILTER": 12, "IP6_FW": 13, "DNRTMSG": 14, "KOBJECT_UEVENT": 15, "GENERIC": 16, "SCSITRANSPORT": 18, "ECRYPTFS": 19,
        "RDMA": 20, "CRYPTO": 21, "SMC": 22,
    }.items():
        check(f"NETLINK-{name}", REFUSED, lambda p=protocol: made(16, 3, p), "only routing messages: getifaddrs asks by them")
    flags = {"cloexec": 0o2000000, "nonblock": 0o4000, "both": 0o2004000}
    for name, flag in flags.items():
        check(f"UNIX-{name}", "ok", lambda f=flag: made(1, 1 | f), "flags in the type do not hide a family")
        check(f"PACKET-{name}", REFUSED, lambda f=flag: made(17, 3 | f), "nor open one")
        check(f"RAW-{name}", REFUSED, lambda f=flag: made(2, 3 | f), "nor a type")
    for family in (17, 38, 40, 16 | 1 << 33, 2 | 1 << 32):
        low = family & 0xFFFFFFFF
        expect = expected(low, 3, context) if family >> 32 else REFUSED
        check(f"high-{family:x}", expect, lambda f=family: made(f, 3), "the kernel looks at 32 bits of the family")
    if context.strict:
        return
    for name, message in {"newlink": 16, "dellink": 17, "newaddr": 20, "deladdr": 21, "newroute": 24, "newneigh": 28, "newrule": 32,
                          "newqdisc": 36, "newtclass": 40, "newtfilter": 44, "newnsid": 88}.items():
        check(f"rtnetlink-{name}", "EPERM|EOPNOTSUPP", lambda m=message: asked(m), "looking is allowed, changing is not")


def asked(message):
    """Sends a change by routing netlink and gives the kernel's answer."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as s:
        s.settimeout(2)
        # Request, acknowledge, create.
        s.send(struct.pack("IHHII", 32, message, 0x405, 1, 0) + bytes(16))
        answer = s.recv(4096)
        length, kind = struct.unpack_from("IH", answer)
        code = struct.unpack_from("i", answer, 16)[0]
        return errno_name(-code) if kind == 2 and code else "ok"
