# SPDX-License-Identifier: Apache-2.0
# A boot sector that asks the BIOS for emulated devices and says on the serial line what it found.
        .code16
start:  xor     %ax, %ax
        mov     %ax, %ds
        mov     %ax, %es
        mov     %ax, %ss
        mov     $0x7c00, %sp
        sti
        mov     %dl, disk

again:  xor     %ax, %ax
        mov     %ax, %es
        mov     $boots, %si
        call    say
        mov     disk, %al               # 0x80: the first disk of the BIOS
        and     $15, %al
        add     $'0', %al
        call    put

        mov     $0x0301, %ax            # this sector goes to the second sector of the second one
        mov     $0x7c00, %bx
        mov     $2, %cx
        mov     $0x0081, %dx
        int     $0x13
        jc      stop
        mov     $0x0201, %ax            # and read again
        mov     $0x8000, %bx
        mov     $2, %cx
        mov     $0x0081, %dx
        int     $0x13
        jc      stop
        mov     $0x7c00, %si
        mov     $0x8000, %di
        mov     $256, %cx
        repe cmpsw
        jne     stop
        mov     $written, %si
        call    say

        mov     $0xb102, %ax            # PCI BIOS: find a device
        mov     $0x10d3, %cx            # e1000e
        mov     $0x8086, %dx
        xor     %si, %si
        int     $0x1a
        jc      stop
        mov     $nic, %si
        call    say

stop:   mov     $end, %si
        call    say
        mov     $9, %cx                 # half a second of the timer; who listens may come late
halt:   hlt
        loop    halt
        jmp     again

say:    lodsb
        test    %al, %al
        jz      done
        call    put
        jmp     say
put:    push    %dx
        push    %ax
        mov     $0x3fd, %dx
wait:   in      %dx, %al
        test    $0x20, %al
        jz      wait
        pop     %ax
        mov     $0x3f8, %dx
        out     %al, %dx
        pop     %dx
done:   ret

boots:  .asciz  "legacy: booted from disk "
written: .asciz ", wrote another one"
nic:    .asciz  ", has an e1000e"
end:    .asciz  "; end\r\n"
disk:   .byte   0
        .org    510
        .word   0xaa55
