;; Never ends when it is closed.
(func $close (param i32) (loop (br 0)))
