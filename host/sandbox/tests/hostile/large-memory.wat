;; Large from the beginning: 96 MiB.
(memory $second 1536)
