"""What a process owes its machine: its terminal, its signals, and whole files.

In:   words for the user; signals at any moment; bytes to keep.
Out:  lines on a terminal, a pipe or a log; a process that ends saved and says so; files
      and folders that are whole after a kill, a power cut, a full disk.

native_log   what TensorFlow logs, less what tells nobody anything
durable      whole files and folders, and locks: kills, power cuts, full disks
console      what a command says, whoever reads it
interrupts   signals, at any moment
reading      files that others may have written
cores        a CPU's cores, shared out among parts of a batch
checksums    a model's files and their SHA-256: damage is noticed
"""
