;; Everything as it should be. The control of the other tests: what they show fails for their own reason.
