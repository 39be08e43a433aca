/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/kvm_guest.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

/*
 * A guest in long mode with paging, as a kernel runs: loop, SSE2, ring 3 by iretq, back by a system call gate, result by one OUT.
 * Layout of its 2 MiB: page tables, GDT, IDT, TSS, code, two stacks.
 */
#define MEMORY_BYTES (2ul << 20)
enum {
        AT_PML4 = 0x1000,
        AT_PDPT = 0x2000,
        AT_PD = 0x3000,
        AT_GDT = 0x4000,
        AT_IDT = 0x5000,
        AT_TSS = 0x6000,
        AT_CODE = 0x8000,
        STACK_RING0 = 0x20000,
        STACK_RING3 = 0x30000,
};
enum { SELECT_CODE0 = 0x08, SELECT_DATA0 = 0x10, SELECT_DATA3 = 0x18, SELECT_CODE3 = 0x20, SELECT_TSS = 0x28 };
#define CPUID_ENTRIES 256
#define GATE_VECTOR   0x80
#define RESULT_PORT   0x5a
#define SSE_INPUT     0x0102030405060708ull

extern const uint8_t kvm_guest_code[], kvm_guest_ring3[], kvm_guest_gate[], kvm_guest_end[];

/* In: rcx turns, rdx the ring-3 address, r8 the ring-3 stack. Out: rcx 0, rbx the SSE2 sum, rsi ring-3 CS, rdi the gate's CS. */
__asm__(".pushsection .rodata\n"
        ".globl kvm_guest_code, kvm_guest_ring3, kvm_guest_gate, kvm_guest_end\n"
        "kvm_guest_code:\n"
        "1:      dec %rcx\n"
        "        jnz 1b\n"
        "        movabs $0x0102030405060708, %rax\n"
        "        movq %rax, %xmm0\n"
        "        paddq %xmm0, %xmm0\n"
        "        movq %xmm0, %rbx\n"
        "        pushq $0x1b\n" /* SELECT_DATA3 | 3 */
        "        pushq %r8\n"
        "        pushq $2\n"
        "        pushq $0x23\n" /* SELECT_CODE3 | 3 */
        "        pushq %rdx\n"
        "        iretq\n"
        "kvm_guest_ring3:\n"
        "        mov %cs, %esi\n"
        "        int $0x80\n"
        "        ud2\n"
        "kvm_guest_gate:\n"
        "        mov %cs, %edi\n"
        "        out %al, $0x5a\n"
        "        hlt\n"
        "kvm_guest_end:\n"
        ".popsection\n");

static void put64(uint8_t *memory, size_t at, uint64_t value)
{
        memcpy(memory + at, &value, sizeof(value));
}

static void lay_out(uint8_t *memory)
{
        uint64_t gate = AT_CODE + (uint64_t)(kvm_guest_gate - kvm_guest_code);

        put64(memory, AT_PML4, AT_PDPT | 7); /* present, writable, user */
        put64(memory, AT_PDPT, AT_PD | 7);
        put64(memory, AT_PD, 0x80 | 7); /* one page of 2 MiB at 0 */
        put64(memory, AT_GDT + SELECT_CODE0, 0x00af9b000000ffffull);
        put64(memory, AT_GDT + SELECT_DATA0, 0x00cf93000000ffffull);
        put64(memory, AT_GDT + SELECT_DATA3, 0x00cff3000000ffffull);
        put64(memory, AT_GDT + SELECT_CODE3, 0x00affb000000ffffull);
        put64(memory, AT_GDT + SELECT_TSS, 0x0000890000000067ull | (uint64_t)AT_TSS << 16);
        put64(memory, AT_IDT + GATE_VECTOR * 16,
              (gate & 0xffff) | SELECT_CODE0 << 16 | 0xee00ull << 32 | (gate >> 16 & 0xffff) << 48);
        put64(memory, AT_TSS + 4, STACK_RING0);
        memcpy(memory + AT_CODE, kvm_guest_code, (size_t)(kvm_guest_end - kvm_guest_code));
}

static struct kvm_segment segment(uint16_t selector, uint8_t type, uint8_t dpl, bool code)
{
        return (struct kvm_segment){
                .limit = UINT32_MAX,
                .selector = selector,
                .type = type,
                .present = 1,
                .dpl = dpl,
                .db = !code,
                .s = 1,
                .l = code,
                .g = 1,
        };
}

static int set_registers(int vcpu, uint64_t turns)
{
        struct kvm_sregs s;
        struct kvm_regs regs = {
                .rip = AT_CODE,
                .rsp = STACK_RING0,
                .rflags = 2,
                .rcx = turns,
                .rdx = AT_CODE + (uint64_t)(kvm_guest_ring3 - kvm_guest_code),
                .r8 = STACK_RING3,
        };

        if (ioctl(vcpu, KVM_GET_SREGS, &s) < 0)
                return -errno;
        s.cr0 = 0x80050033; /* PG AM WP NE ET MP PE */
        s.cr3 = AT_PML4;
        s.cr4 = 0x620;  /* PAE OSFXSR OSXMMEXCPT */
        s.efer = 0x500; /* LME LMA */
        s.gdt.base = AT_GDT;
        s.gdt.limit = SELECT_TSS + 15;
        s.idt.base = AT_IDT;
        s.idt.limit = (GATE_VECTOR + 1) * 16 - 1;
        s.cs = segment(SELECT_CODE0, 11, 0, true);
        s.ds = s.es = s.fs = s.gs = s.ss = segment(SELECT_DATA0, 3, 0, false);
        s.tr = (struct kvm_segment){.base = AT_TSS, .limit = 0x67, .selector = SELECT_TSS, .type = 11, .present = 1};
        if (ioctl(vcpu, KVM_SET_SREGS, &s) < 0 || ioctl(vcpu, KVM_SET_REGS, &regs) < 0)
                return -errno;
        return 0;
}

/* The guest gets the processor that KVM offers; without it long mode is refused. */
static int set_cpuid(int kvm, int vcpu)
{
        static union {
                struct kvm_cpuid2 head;
                uint8_t room[sizeof(struct kvm_cpuid2) + CPUID_ENTRIES * sizeof(struct kvm_cpuid_entry2)];
        } cpuid;

        cpuid.head.nent = CPUID_ENTRIES;
        if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid) < 0 || ioctl(vcpu, KVM_SET_CPUID2, &cpuid) < 0)
                return -errno;
        return 0;
}

static int create(int kvm, int *ret_vcpu, struct kvm_run **ret_run)
{
        struct kvm_userspace_memory_region region = {.memory_size = MEMORY_BYTES};
        uint8_t *memory;
        int vm, size;
        void *run;

        vm = ioctl(kvm, KVM_CREATE_VM, 0);
        if (vm < 0)
                return -errno;
        (void)ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000ul); /* only older Intel processors need it */
        memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED)
                return -errno;
        lay_out(memory);
        region.userspace_addr = (uintptr_t)memory;
        if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0)
                return -errno;
        *ret_vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
        if (*ret_vcpu < 0)
                return -errno;
        size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
        if (size < (int)sizeof(struct kvm_run))
                return size < 0 ? -errno : -EPROTO;
        run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, *ret_vcpu, 0);
        if (run == MAP_FAILED)
                return -errno;
        *ret_run = run;
        return 0;
}

static uint64_t now_us(void)
{
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static bool results_hold(int vcpu)
{
        struct kvm_regs regs;

        return ioctl(vcpu, KVM_GET_REGS, &regs) == 0 && regs.rcx == 0 && regs.rbx == SSE_INPUT * 2 &&
               (regs.rsi & 0xffff) == (SELECT_CODE3 | 3) && (regs.rdi & 0xffff) == SELECT_CODE0;
}

static void fail(struct kvm_report *report, enum kvm_stage stage, int error)
{
        report->stage = stage;
        report->error = error < 0 ? -error : error;
}

void kvm_guest_run(const char *device, uint64_t turns, struct kvm_report *ret_report)
{
        struct kvm_run *run = NULL;
        uint64_t begin;
        int kvm, vcpu = -1, r;

        *ret_report = (struct kvm_report){};
        kvm = open(device, O_RDWR | O_CLOEXEC);
        if (kvm < 0)
                return fail(ret_report, KVM_STAGE_OPEN, errno);
        r = ioctl(kvm, KVM_GET_API_VERSION, 0);
        if (r != KVM_API_VERSION)
                return fail(ret_report, KVM_STAGE_VERSION, r < 0 ? errno : EPROTO);
        r = create(kvm, &vcpu, &run);
        if (r < 0)
                return fail(ret_report, KVM_STAGE_CREATE, r);
        r = set_cpuid(kvm, vcpu);
        if (!r)
                r = set_registers(vcpu, turns);
        if (r < 0)
                return fail(ret_report, KVM_STAGE_REGISTERS, r);
        begin = now_us();
        do
                r = ioctl(vcpu, KVM_RUN, 0);
        while (r < 0 && errno == EINTR);
        ret_report->elapsed_us = now_us() - begin;
        ret_report->exit_reason = run->exit_reason;
        if (r < 0 || run->exit_reason != KVM_EXIT_IO || run->io.port != RESULT_PORT)
                return fail(ret_report, KVM_STAGE_RUN, r < 0 ? errno : 0);
        fail(ret_report, results_hold(vcpu) ? KVM_STAGE_DONE : KVM_STAGE_RESULT, 0);
}
