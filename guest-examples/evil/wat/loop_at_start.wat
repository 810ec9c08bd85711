;; Never comes to an end while it is instantiated.
(func $init (loop (br 0)))
(start $init)
