"""For each line on standard input, a time in milliseconds: multiplies for that long and prints the median seconds of a product."""

import statistics
import sys
import time

import numpy

n = int(sys.argv[1])
random = numpy.random.default_rng(1)
a, b = (random.random((n, n), dtype=numpy.float32) for _ in range(2))
product = a @ b
blas = numpy.show_config(mode="dicts")["Build Dependencies"]["blas"]
print(f"NumPy {numpy.__version__}, {blas['name']} {blas['version']}", flush=True)
for line in sys.stdin:
    end = time.perf_counter() + float(line) / 1000
    taken = []
    while not taken or time.perf_counter() < end:
        start = time.perf_counter()
        numpy.matmul(a, b, out=product)
        taken.append(time.perf_counter() - start)
    print(statistics.median(taken), flush=True)
