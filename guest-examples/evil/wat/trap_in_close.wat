;; Traps when it is closed.
(func $close (param i32) (unreachable))
