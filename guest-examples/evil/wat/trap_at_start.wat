;; Falls while it is instantiated.
(func $init unreachable)
(start $init)
