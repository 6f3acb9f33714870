// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"math/rand"
	"runtime"
	"sync"
	"time"
)

// A ring of goroutines that each give way; the caller is one of them and holds the clock.
func ring(count, members int) (float64, int) {
	var done sync.WaitGroup
	done.Add(members - 1)
	for i := 1; i < members; i++ {
		go func() {
			for n := 0; n <= count; n++ {
				runtime.Gosched()
			}
			done.Done()
		}()
	}
	runtime.Gosched()
	start := cpuClock()
	for n := 0; n < count; n++ {
		runtime.Gosched()
	}
	cpu := cpuClock() - start
	done.Wait()
	return cpu, count * members
}

// Spawn a batch and wait for all of it: one by a channel, more by a WaitGroup, whichever is faster.
func spawn(count, batch int, pause bool) (float64, int) {
	if batch == 1 {
		return spawnOne(count), count
	}
	var done sync.WaitGroup
	body := func() { done.Done() }
	if pause {
		body = func() {
			runtime.Gosched()
			done.Done()
		}
	}
	start := cpuClock()
	for n := 0; n < count; n++ {
		done.Add(batch)
		for i := 0; i < batch; i++ {
			go body()
		}
		done.Wait()
	}
	return cpuClock() - start, count * batch
}

func spawnOne(count int) float64 {
	done := make(chan struct{}, 1)
	body := func() { done <- struct{}{} }
	start := cpuClock()
	for n := 0; n < count; n++ {
		go body()
		<-done
	}
	return cpuClock() - start
}

// One writer, one reader, one channel.
func pipe(count, capacity int) (float64, int) {
	var done sync.WaitGroup
	channel := make(chan interface{}, capacity)
	done.Add(2)
	start := cpuClock()
	go func() {
		for n := 0; n < count; n++ {
			<-channel
		}
		done.Done()
	}()
	go func() {
		for n := 0; n < count; n++ {
			channel <- nil
		}
		done.Done()
	}()
	done.Wait()
	return cpuClock() - start, count
}

// The chain of filters; returns CPU seconds.
func sieve(primes, last, capacity int) float64 {
	start := cpuClock()
	left := make(chan int, capacity)
	go func(right chan int) {
		for n := 2; n <= last; n++ {
			right <- n
		}
		close(right)
	}(left)
	found := 0
	for i := 0; i < primes; i++ {
		found = <-left
		right := make(chan int, capacity)
		go func(prime int, left, right chan int) {
			for n := range left {
				if n%prime != 0 {
					right <- n
				}
			}
			close(right)
		}(found, left, right)
		left = right
	}
	for n := range left {
		fail(fmt.Sprint("a number after the last prime: ", n))
	}
	if found != last {
		fail(fmt.Sprintf("the sieve ended with %d, not %d", found, last))
	}
	return cpuClock() - start
}

// Sleeps of 0 to 1 seconds, all at once; returns CPU seconds.
func timers(sleepers int) float64 {
	source := rand.New(rand.NewSource(20))
	delays := make([]time.Duration, sleepers)
	for i := range delays {
		delays[i] = time.Duration(source.Float64() * float64(time.Second))
	}
	var done sync.WaitGroup
	done.Add(sleepers)
	start := cpuClock()
	for _, delay := range delays {
		go func(delay time.Duration) {
			time.Sleep(delay)
			done.Done()
		}(delay)
	}
	done.Wait()
	return cpuClock() - start
}
