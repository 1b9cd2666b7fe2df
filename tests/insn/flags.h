/* The flags that cases name, for both kits. */
#ifndef TESTS_INSN_FLAGS_H
#define TESTS_INSN_FLAGS_H

#define CF 0x1
#define PF 0x4
#define AF 0x10
#define ZF 0x40
#define SF 0x80
#define DF 0x400
#define OF 0x800

#endif
