;; Never comes back, and is in one bulk operation over its memory after the other.
(func $call (param i32 i32 i32 i32) (result i32)
  (loop (memory.fill (i32.const 65536) (i32.const 0) (i32.const 4000000)) (br 0)) unreachable)
