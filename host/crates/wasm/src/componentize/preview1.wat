;; The adapter of WASI preview1 that a module of Go (and of any language whose runtime asks for preview1) is linked with. In: the
;; calls of the runtime. Out: lines for `thalweg:udf/log`, and what of the machine the module asks for (`adapter.rs` has those parts). It knows no file,
;; no socket, no environment, no argument, and without a grant no clock but the one that it is told.
;;
;; It uses the memory of the module and has no place in it: its state is in globals. A line is gathered in a buffer that the module
;; lends (`thalweg_lines`); without one every write is a line.
;;
;; Nothing but the log leaves the component unless the module says that it may be left (`thalweg_free`), so a collector that runs inside
;; `cabi_realloc`, and asks for the time there, is allowed to.
(module
  (import "env" "memory" (memory 0))
  ;; level, whether there is a row, row, message
  (import "thalweg:udf/log@1.0.0" "write" (func $log (param i32 i32 i32 i32 i32)))
  ;; @clock imports
  ;; @random imports

  ;; The processing time of the call, in milliseconds since 1970.
  (global $now (mut i64) (i64.const 0))
  ;; Nanoseconds of the monotonic clock. It stands still, and sleeping moves it.
  (global $monotonic (mut i64) (i64.const 1))
  ;; State of the generator of pseudo-random numbers.
  (global $seed (mut i64) (i64.const 0))
  ;; The buffer of the line: where it is, how large, how much of it is used, and the level of what stands there.
  (global $line (mut i32) (i32.const 0))
  (global $room (mut i32) (i32.const 0))
  (global $used (mut i32) (i32.const 0))
  (global $level (mut i32) (i32.const 2))

  ;; Where the host may put an answer of 16 bytes; 0 while it may not be asked.
  (global $area (mut i32) (i32.const 0))

  ;; Errors of preview1: success, EBADF, ENOSYS.

  ;; Of our own: from now on the component may be left, and answers have their place here; or, at 0, it may not.
  (func (export "thalweg_free") (param $at i32) (global.set $area (local.get $at)))

  ;; Of our own: what the SDK says at the beginning of a call, so that a call that is made again sees the same.
  (func (export "thalweg_moment") (param $time i64) (param $random i64)
    (global.set $now (local.get $time))
    (global.set $seed (local.get $random)))

  ;; Of our own: the buffer for lines, which stays where it is.
  (func (export "thalweg_lines") (param $at i32) (param $bytes i32)
    (global.set $line (local.get $at))
    (global.set $room (local.get $bytes)))

  ;; Of our own: what stands in the buffer is a line.
  (func $flush (export "thalweg_flush")
    (if (global.get $used) (then
      (call $write (global.get $line) (global.get $used))
      (global.set $used (i32.const 0)))))

  ;; A line for the log. What is not UTF-8 becomes question marks, where it stands.
  (func $write (param $at i32) (param $bytes i32)
    (call $mend (local.get $at) (local.get $bytes))
    (call $log (global.get $level) (i32.const 0) (i32.const 0) (local.get $at) (local.get $bytes)))

  ;; Replaces each byte that belongs to no character.
  (func $mend (param $at i32) (param $bytes i32)
    (local $end i32) (local $size i32)
    (local.set $end (i32.add (local.get $at) (local.get $bytes)))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
      (local.set $size (call $character (local.get $at) (local.get $end)))
      (if (i32.eqz (local.get $size)) (then
        (i32.store8 (local.get $at) (i32.const 0x3f))
        (local.set $size (i32.const 1))))
      (local.set $at (i32.add (local.get $at) (local.get $size)))
      (br $next))))

  ;; How many bytes the character here has; 0 if it is none.
  (func $character (param $at i32) (param $end i32) (result i32)
    (local $first i32) (local $low i32) (local $high i32) (local $size i32) (local $i i32) (local $byte i32)
    (local.set $first (i32.load8_u (local.get $at)))
    (if (i32.lt_u (local.get $first) (i32.const 0x80)) (then (return (i32.const 1))))
    (if (i32.lt_u (i32.sub (local.get $first) (i32.const 0xc2)) (i32.const 30)) (then (local.set $size (i32.const 2))))
    (if (i32.eq (i32.and (local.get $first) (i32.const 0xf0)) (i32.const 0xe0)) (then (local.set $size (i32.const 3))))
    (if (i32.lt_u (i32.sub (local.get $first) (i32.const 0xf0)) (i32.const 5)) (then (local.set $size (i32.const 4))))
    (if (i32.eqz (local.get $size)) (then (return (i32.const 0))))
    (if (i32.gt_u (i32.add (local.get $at) (local.get $size)) (local.get $end)) (then (return (i32.const 0))))
    ;; the range of the second byte excludes overlong forms, surrogates, and what is behind the last character
    (local.set $low (i32.const 0x80))
    (local.set $high (i32.const 0xbf))
    (if (i32.eq (local.get $first) (i32.const 0xe0)) (then (local.set $low (i32.const 0xa0))))
    (if (i32.eq (local.get $first) (i32.const 0xed)) (then (local.set $high (i32.const 0x9f))))
    (if (i32.eq (local.get $first) (i32.const 0xf0)) (then (local.set $low (i32.const 0x90))))
    (if (i32.eq (local.get $first) (i32.const 0xf4)) (then (local.set $high (i32.const 0x8f))))
    (local.set $i (i32.const 1))
    (loop $next
      (local.set $byte (i32.load8_u (i32.add (local.get $at) (local.get $i))))
      (if (i32.lt_u (local.get $byte) (local.get $low)) (then (return (i32.const 0))))
      (if (i32.gt_u (local.get $byte) (local.get $high)) (then (return (i32.const 0))))
      (local.set $low (i32.const 0x80))
      (local.set $high (i32.const 0xbf))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (local.get $size))))
    (local.get $size))

  ;; Adds bytes to the line; each end of a line sends it.
  (func $gather (param $at i32) (param $bytes i32)
    (local $end i32) (local $byte i32)
    (if (i32.eqz (global.get $room)) (then
      (if (local.get $bytes) (then (call $write (local.get $at) (local.get $bytes))))
      (return)))
    (local.set $end (i32.add (local.get $at) (local.get $bytes)))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
      (local.set $byte (i32.load8_u (local.get $at)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (if (i32.eq (local.get $byte) (i32.const 10))
        (then (call $flush))
        (else
          (if (i32.ge_u (global.get $used) (global.get $room)) (then (call $flush)))
          (i32.store8 (i32.add (global.get $line) (global.get $used)) (local.get $byte))
          (global.set $used (i32.add (global.get $used) (i32.const 1)))))
      (br $next))))

  ;; Standard output has the level info, standard error the level warn.
  (func (export "fd_write") (param $fd i32) (param $vectors i32) (param $count i32) (param $written i32) (result i32)
    (local $sum i32) (local $bytes i32)
    (if (i32.gt_u (i32.sub (local.get $fd) (i32.const 1)) (i32.const 1)) (then (return (i32.const 8))))
    (if (i32.ne (global.get $level) (i32.add (local.get $fd) (i32.const 1))) (then
      (call $flush)
      (global.set $level (i32.add (local.get $fd) (i32.const 1)))))
    (block $done (loop $next
      (br_if $done (i32.eqz (local.get $count)))
      (local.set $bytes (i32.load offset=4 (local.get $vectors)))
      (call $gather (i32.load (local.get $vectors)) (local.get $bytes))
      (local.set $sum (i32.add (local.get $sum) (local.get $bytes)))
      (local.set $vectors (i32.add (local.get $vectors) (i32.const 8)))
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (br $next)))
    (i32.store (local.get $written) (local.get $sum))
    (i32.const 0))

  ;; Standard input is at its end.
  (func (export "fd_read") (param $fd i32) (param i32 i32) (param $read i32) (result i32)
    (if (local.get $fd) (then (return (i32.const 8))))
    (i32.store (local.get $read) (i32.const 0))
    (i32.const 0))

  ;; A runtime that ends itself does so with all it wrote.
  (func (export "proc_exit") (param i32)
    (call $flush)
    unreachable)

  ;; The wall clock and the monotonic one in nanoseconds: as the call says, or those of the host.
  ;; @clock
  (func (export "clock_time_get") (param $clock i32) (param i64) (param $time i32) (result i32)
    (i64.store (local.get $time)
      (if (result i64) (local.get $clock)
        (then (call $passed))
        (else (call $wall))))
    (i32.const 0))
  (func (export "clock_res_get") (param i32) (param $resolution i32) (result i32)
    (i64.store (local.get $resolution) (i64.const 1000000))
    (i32.const 0))

  ;; SplitMix64
  (func $seeded (result i64)
    (local $z i64)
    (local.set $z (i64.add (global.get $seed) (i64.const 0x9E3779B97F4A7C15)))
    (global.set $seed (local.get $z))
    (local.set $z (i64.mul (i64.xor (local.get $z) (i64.shr_u (local.get $z) (i64.const 30))) (i64.const 0xBF58476D1CE4E5B9)))
    (local.set $z (i64.mul (i64.xor (local.get $z) (i64.shr_u (local.get $z) (i64.const 27))) (i64.const 0x94D049BB133111EB)))
    (i64.xor (local.get $z) (i64.shr_u (local.get $z) (i64.const 31))))
  ;; @random
  (func (export "random_get") (param $at i32) (param $bytes i32) (result i32)
    (block $done (loop $next
      (br_if $done (i32.eqz (local.get $bytes)))
      (i64.store8 (local.get $at) (call $random))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (local.set $bytes (i32.sub (local.get $bytes) (i32.const 1)))
      (br $next)))
    (i32.const 0))

  ;; Nobody waits: the first subscription comes true, and if it is one to the clock, the clock moves there.
  (func (export "poll_oneoff") (param $in i32) (param $out i32) (param $count i32) (param $events i32) (result i32)
    (local $at i64)
    (if (i32.eqz (local.get $count)) (then (return (i32.const 28))))
    (i64.store (local.get $out) (i64.load (local.get $in)))
    (i64.store offset=8 (local.get $out) (i64.const 0))
    (i64.store offset=16 (local.get $out) (i64.const 0))
    (i64.store offset=24 (local.get $out) (i64.const 0))
    (i32.store8 offset=10 (local.get $out) (i32.load8_u offset=8 (local.get $in)))
    (if (i32.load8_u offset=8 (local.get $in))
      (then (i32.store16 offset=8 (local.get $out) (i32.const 8)))
      (else
        (local.set $at (i64.load offset=24 (local.get $in)))
        (if (i32.eqz (i32.and (i32.load16_u offset=40 (local.get $in)) (i32.const 1)))
          (then (local.set $at (i64.add (local.get $at) (call $passed)))))
        ;; a time of the wall clock is not waited for
        (if (i64.gt_s (local.get $at) (call $passed)) (then
          (if (i32.eq (i32.load offset=16 (local.get $in)) (i32.const 1))
            (then (global.set $monotonic
                (i64.add (global.get $monotonic) (i64.sub (local.get $at) (call $passed))))))))))
    (i32.store (local.get $events) (i32.const 1))
    (i32.const 0))
  (func (export "sched_yield") (result i32) (i32.const 0))

  ;; No arguments and no environment.
  (func $nothing (param $count i32) (param $bytes i32) (result i32)
    (i32.store (local.get $count) (i32.const 0))
    (i32.store (local.get $bytes) (i32.const 0))
    (i32.const 0))
  (export "args_sizes_get" (func $nothing))
  (export "environ_sizes_get" (func $nothing))
  (func $none (param i32 i32) (result i32) (i32.const 0))
  (export "args_get" (func $none))
  (export "environ_get" (func $none))

  ;; The three standard files are there: character devices that anything may be done with. No folder is.
  (func (export "fd_fdstat_get") (param $fd i32) (param $stat i32) (result i32)
    (if (i32.gt_u (local.get $fd) (i32.const 2)) (then (return (i32.const 8))))
    (i64.store (local.get $stat) (i64.const 2))
    (i64.store offset=8 (local.get $stat) (i64.const -1))
    (i64.store offset=16 (local.get $stat) (i64.const -1))
    (i32.const 0))
  (func (export "fd_fdstat_set_flags") (param $fd i32) (param i32) (result i32)
    (select (i32.const 8) (i32.const 0) (i32.gt_u (local.get $fd) (i32.const 2))))
  (func (export "fd_close") (param $fd i32) (result i32)
    (select (i32.const 8) (i32.const 0) (i32.gt_u (local.get $fd) (i32.const 2))))
  (func (export "fd_prestat_get") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_prestat_dir_name") (param i32 i32 i32) (result i32) (i32.const 8))

  ;; All else is not there: ENOSYS.
  (func (export "fd_advise") (param i32 i64 i64 i32) (result i32) (i32.const 52))
  (func (export "fd_allocate") (param i32 i64 i64) (result i32) (i32.const 52))
  (func (export "fd_datasync") (param i32) (result i32) (i32.const 52))
  (func (export "fd_fdstat_set_rights") (param i32 i64 i64) (result i32) (i32.const 52))
  (func (export "fd_filestat_get") (param i32 i32) (result i32) (i32.const 52))
  (func (export "fd_filestat_set_size") (param i32 i64) (result i32) (i32.const 52))
  (func (export "fd_filestat_set_times") (param i32 i64 i64 i32) (result i32) (i32.const 52))
  (func (export "fd_pread") (param i32 i32 i32 i64 i32) (result i32) (i32.const 52))
  (func (export "fd_pwrite") (param i32 i32 i32 i64 i32) (result i32) (i32.const 52))
  (func (export "fd_readdir") (param i32 i32 i32 i64 i32) (result i32) (i32.const 52))
  (func (export "fd_renumber") (param i32 i32) (result i32) (i32.const 52))
  (func (export "fd_seek") (param i32 i64 i32 i32) (result i32) (i32.const 52))
  (func (export "fd_sync") (param i32) (result i32) (i32.const 52))
  (func (export "fd_tell") (param i32 i32) (result i32) (i32.const 52))
  (func (export "path_create_directory") (param i32 i32 i32) (result i32) (i32.const 52))
  (func (export "path_filestat_get") (param i32 i32 i32 i32 i32) (result i32) (i32.const 52))
  (func (export "path_filestat_set_times") (param i32 i32 i32 i32 i64 i64 i32) (result i32) (i32.const 52))
  (func (export "path_link") (param i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 52))
  (func (export "path_open") (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32) (i32.const 52))
  (func (export "path_readlink") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 52))
  (func (export "path_remove_directory") (param i32 i32 i32) (result i32) (i32.const 52))
  (func (export "path_rename") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 52))
  (func (export "path_symlink") (param i32 i32 i32 i32 i32) (result i32) (i32.const 52))
  (func (export "path_unlink_file") (param i32 i32 i32) (result i32) (i32.const 52))
  (func (export "proc_raise") (param i32) (result i32) (i32.const 52))
  (func (export "sock_accept") (param i32 i32 i32) (result i32) (i32.const 52))
  (func (export "sock_recv") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 52))
  (func (export "sock_send") (param i32 i32 i32 i32 i32) (result i32) (i32.const 52))
  (func (export "sock_shutdown") (param i32 i32) (result i32) (i32.const 52)))
