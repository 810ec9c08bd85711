;; Takes a table as large as it gets, and falls when it gets no larger one.
(table $t 1 funcref)
(func $call (param i32 i32 i32 i32) (result i32)
  (loop (br_if 0 (i32.ne (table.grow $t (ref.null func) (i32.const 50000)) (i32.const -1)))) unreachable)
