;; Not even a call is needed: this runs while the component is instantiated.
(func $begin (loop $forever (br $forever)))
(start $begin)
