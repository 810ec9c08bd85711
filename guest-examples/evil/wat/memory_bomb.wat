;; Takes all memory it gets, and falls when it gets no more.
(func $call (param i32 i32 i32 i32) (result i32)
  (loop (br_if 0 (i32.ne (memory.grow (i32.const 100)) (i32.const -1)))) unreachable)
