/* A plugin for QEMU: counts the instructions that the emulated program executes, and those of them that are 8-bit dot
 * products. Each getpriority(2) of the program adds a line "all dot" to the file of the argument `out`. One thread. */

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* QEMU's plugin interface, version 1; Debian ships no header of it. */
typedef uint64_t plugin_id;
enum { ADD_U64 };
int qemu_plugin_version = 1;
size_t qemu_plugin_tb_n_insns(const void *block);
void *qemu_plugin_tb_get_insn(const void *block, size_t index);
const void *qemu_plugin_insn_data(const void *instruction);
void qemu_plugin_register_vcpu_tb_exec_inline(void *block, int operation, void *counter, uint64_t number);
void qemu_plugin_register_vcpu_insn_exec_inline(void *instruction, int operation, void *counter, uint64_t number);
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*callback)(plugin_id, void *));
void qemu_plugin_register_vcpu_syscall_cb(plugin_id id,
                                          void (*callback)(plugin_id, unsigned, int64_t, uint64_t, uint64_t, uint64_t,
                                                           uint64_t, uint64_t, uint64_t, uint64_t, uint64_t));

enum { GETPRIORITY = 141 };
static uint64_t all, dot;
static FILE *out;

/* SDOT and UDOT, by vector and by element (Arm Architecture Reference Manual, C7.2). */
static int is_dot(uint32_t code) {
    return (code & 0x9FE0FC00) == 0x0E809400 || (code & 0x9FC0F400) == 0x0F80E000;
}

static void translated(plugin_id id, void *block) {
    size_t length = qemu_plugin_tb_n_insns(block);
    qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_U64, &all, length);
    for (size_t index = 0; index < length; index++) {
        void *instruction = qemu_plugin_tb_get_insn(block, index);
        uint32_t code;
        memcpy(&code, qemu_plugin_insn_data(instruction), sizeof code);
        if (is_dot(code))
            qemu_plugin_register_vcpu_insn_exec_inline(instruction, ADD_U64, &dot, 1);
    }
}

static void called(plugin_id id, unsigned cpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                   uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8) {
    if (number == GETPRIORITY) {
        fprintf(out, "%llu %llu\n", (unsigned long long)all, (unsigned long long)dot);
        fflush(out);
    }
}

int qemu_plugin_install(plugin_id id, const void *info, int count, char **arguments) {
    if (count != 1 || strncmp(arguments[0], "out=", 4) || !(out = fopen(arguments[0] + 4, "w")))
        return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    return 0;
}
