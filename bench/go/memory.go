// SPDX-License-Identifier: MIT

package main

import (
	"bufio"
	"bytes"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// One `Key:  n kB` line of a file in /proc, in bytes.
func status(path, key string) float64 {
	file, err := os.Open(path)
	if err != nil {
		fail(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), key+":") {
			n, err := strconv.Atoi(strings.Fields(lines.Text())[1])
			if err != nil {
				fail(err)
			}
			return float64(n) * 1024
		}
	}
	fail("no " + key + " in " + path)
	return 0
}

func mappings() float64 {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		fail(err)
	}
	return float64(bytes.Count(maps, []byte("\n")))
}

//go:noinline
func outer(gate chan bool, parked *int64) { middle(gate, parked) }

//go:noinline
func middle(gate chan bool, parked *int64) { inner(gate, parked) }

//go:noinline
func inner(gate chan bool, parked *int64) {
	atomic.AddInt64(parked, 1)
	<-gate
}

// Goroutines parked three frames deep: what each holds.
func memory(expected int) result {
	gate := make(chan bool)
	parked := int64(0)
	debug.FreeOSMemory()
	rss, tables := status("/proc/self/smaps_rollup", "Rss"), status("/proc/self/status", "VmPTE")
	maps := mappings()
	cpu, wall := cpuClock(), time.Now()
	for i := 0; i < expected; i++ {
		go outer(gate, &parked)
	}
	for atomic.LoadInt64(&parked) < int64(expected) {
		runtime.Gosched()
	}
	cpu, seconds := cpuClock()-cpu, time.Since(wall).Seconds()
	n := float64(expected)
	return result{
		"value":       (status("/proc/self/smaps_rollup", "Rss") - rss) / n,
		"tables":      (status("/proc/self/status", "VmPTE") - tables) / n,
		"mappings":    mappings() - maps,
		"cpu_seconds": cpu,
		"seconds":     seconds,
	}
}
