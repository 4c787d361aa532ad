/* A plugin for QEMU: counts the instructions that the emulated program executes, and those of them that are 8-bit dot
 * products. At each getpriority(2) of the program it writes what was executed since the one before to the file of the
 * argument `out`: a line "address all dot" for each block, address in hexadecimal, then an empty line. One thread. */

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* QEMU's plugin interface, version 1; Debian ships no header of it. */
typedef uint64_t plugin_id;
enum { ADD_U64 };
int qemu_plugin_version = 1;
size_t qemu_plugin_tb_n_insns(const void *block);
uint64_t qemu_plugin_tb_vaddr(const void *block);
void *qemu_plugin_tb_get_insn(const void *block, size_t index);
const void *qemu_plugin_insn_data(const void *instruction);
void qemu_plugin_register_vcpu_tb_exec_inline(void *block, int operation, void *counter, uint64_t number);
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*callback)(plugin_id, void *));
void qemu_plugin_register_vcpu_syscall_cb(plugin_id id,
                                          void (*callback)(plugin_id, unsigned, int64_t, uint64_t, uint64_t, uint64_t,
                                                           uint64_t, uint64_t, uint64_t, uint64_t, uint64_t));

#ifndef GETPRIORITY
#define GETPRIORITY 141 /* its number on 64-bit Arm */
#endif
struct block {
    uint64_t address, executed, all, dot; /* how often it was executed; instructions in it */
    struct block *next;
};
static struct block *blocks;
static FILE *out;

/* SDOT and UDOT, by vector and by element (Arm Architecture Reference Manual, C7.2). */
static int is_dot(uint32_t code) {
    return (code & 0x9FE0FC00) == 0x0E809400 || (code & 0x9FC0F400) == 0x0F80E000;
}

static void translated(plugin_id id, void *translation) {
    struct block *block = calloc(1, sizeof *block);
    if (!block)
        abort();
    block->address = qemu_plugin_tb_vaddr(translation);
    block->all = qemu_plugin_tb_n_insns(translation);
    block->next = blocks;
    blocks = block;
    for (size_t index = 0; index < block->all; index++) {
        uint32_t code;
        memcpy(&code, qemu_plugin_insn_data(qemu_plugin_tb_get_insn(translation, index)), sizeof code);
        block->dot += is_dot(code);
    }
    qemu_plugin_register_vcpu_tb_exec_inline(translation, ADD_U64, &block->executed, 1);
}

static void called(plugin_id id, unsigned cpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                   uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8) {
    if (number != GETPRIORITY)
        return;
    for (struct block *block = blocks; block; block = block->next) {
        if (block->executed)
            fprintf(out, "%" PRIx64 " %" PRIu64 " %" PRIu64 "\n", block->address, block->executed * block->all,
                    block->executed * block->dot);
        block->executed = 0;
    }
    fputs("\n", out);
    fflush(out);
}

int qemu_plugin_install(plugin_id id, const void *info, int count, char **arguments) {
    if (count != 1 || strncmp(arguments[0], "out=", 4) || !(out = fopen(arguments[0] + 4, "w")))
        return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    return 0;
}
