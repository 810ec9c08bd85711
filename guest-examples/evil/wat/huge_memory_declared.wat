;; Declares more memory than a guest may have.
(memory $huge 40000)
(export "memory" (memory $huge))
