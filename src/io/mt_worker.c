/* SPDX-License-Identifier: MIT */
#include "io/mt_worker.h"

#include "base/mt_alloc.h"
#include "base/mt_error.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

struct mt_workers {
    struct mt_sched *sched;
    pthread_mutex_t mutex;  /* over all below */
    pthread_cond_t work;    /* the queue is not empty any more, or it is the end */
    struct mt_job *oldest;  /* the queue; NULL: empty */
    struct mt_job *newest;  /* valid while it is not empty */
    size_t jobs;            /* those queued and those being run */
    size_t count;           /* length of threads */
    size_t most;            /* room in threads */
    size_t stack_size;      /* bytes for each; 0: the system's usual */
    bool is_ending;
    pthread_t threads[];
};

static void
come_home(struct mt_mail *mail)
{
    struct mt_job *job = MT_CONTAINER_OF(mail, struct mt_job, mail);
    mt_errand_finish(&job->errand);
}

static void *
worker_main(void *argument)
{
    struct mt_workers *workers = argument;
    pthread_mutex_lock(&workers->mutex);
    for (;;) {
        while (!workers->oldest && !workers->is_ending)
            pthread_cond_wait(&workers->work, &workers->mutex);
        struct mt_job *job = workers->oldest;
        if (!job)
            break;
        workers->oldest = job->next;
        pthread_mutex_unlock(&workers->mutex);
        job->run(job);
        pthread_mutex_lock(&workers->mutex);
        workers->jobs--;
        pthread_mutex_unlock(&workers->mutex);
        mt_sched_post(job->sched, &job->mail);
        pthread_mutex_lock(&workers->mutex);
    }
    pthread_mutex_unlock(&workers->mutex);
    return NULL;
}

int
mt_workers_new(struct mt_sched *sched, size_t most, size_t stack_size, struct mt_workers **result)
{
    struct mt_workers *workers = mt_alloc_zeroed(sizeof *workers + most * sizeof(pthread_t));
    if (!workers)
        return MT_ENOMEM;
    workers->sched = sched;
    workers->most = most;
    workers->stack_size = stack_size;
    pthread_mutex_init(&workers->mutex, NULL);
    pthread_cond_init(&workers->work, NULL);
    *result = workers;
    return 0;
}

void
mt_workers_free(struct mt_workers *workers)
{
    pthread_mutex_lock(&workers->mutex);
    workers->is_ending = true;
    pthread_cond_broadcast(&workers->work);
    pthread_mutex_unlock(&workers->mutex);
    for (size_t i = 0; i < workers->count; i++)
        pthread_join(workers->threads[i], NULL);
    pthread_cond_destroy(&workers->work);
    pthread_mutex_destroy(&workers->mutex);
    mt_alloc_free(workers);
}

void
mt_workers_abandon(struct mt_workers *workers)
{
    mt_alloc_free(workers); /* a lock that a lost thread may hold is not to be touched */
}

/* Signals are the business of the threads that Python knows. Returns 0 or a system error. */
static int
add_worker(struct mt_workers *workers)
{
    if (mt_alloc_should_fail())
        return mt_error_from_errno(EAGAIN);
    sigset_t all, before;
    pthread_attr_t attributes;
    sigfillset(&all);
    pthread_attr_init(&attributes);
    if (workers->stack_size)
        pthread_attr_setstacksize(&attributes, workers->stack_size);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(&workers->threads[workers->count], &attributes, worker_main, workers);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (failure)
        return mt_error_from_errno(failure);
    workers->count++;
    return 0;
}

/* Queue it. When all are busy there is one more worker, as long as that is possible; a first one there
   must be. Returns 0 or a system error. */
static int
push(struct mt_workers *workers, struct mt_job *job)
{
    int error = 0;
    pthread_mutex_lock(&workers->mutex);
    if (workers->jobs >= workers->count && workers->count < workers->most)
        error = add_worker(workers);
    if (error && workers->count > 0)
        error = 0;
    if (!error) {
        workers->jobs++;
        job->next = NULL;
        if (workers->oldest)
            workers->newest->next = job;
        else
            workers->oldest = job;
        workers->newest = job;
    }
    pthread_mutex_unlock(&workers->mutex);
    if (!error)
        pthread_cond_signal(&workers->work);
    return error;
}

/* Take it out of the queue. Returns whether it was there still. */
static bool
pull(struct mt_workers *workers, struct mt_job *job)
{
    bool is_found = false;
    pthread_mutex_lock(&workers->mutex);
    struct mt_job *before = NULL;
    for (struct mt_job *one = workers->oldest; one && !is_found; one = one->next) {
        is_found = one == job;
        if (!is_found)
            before = one;
    }
    if (is_found) {
        if (before)
            before->next = job->next;
        else
            workers->oldest = job->next;
        if (workers->newest == job)
            workers->newest = before;
        workers->jobs--;
    }
    pthread_mutex_unlock(&workers->mutex);
    return is_found;
}

int
mt_workers_run(struct mt_workers *workers, struct mt_job *job)
{
    struct mt_sched *sched = workers->sched;
    job->errand.wait = NULL;
    job->errand.is_done = false;
    job->mail.deliver = come_home;
    job->sched = sched;
    int error = push(workers, job);
    if (error)
        return error;
    sched->external++;
    while (!job->errand.is_done && !error) {
        int result = mt_errand_wait(sched, &job->errand, NULL);
        if (result == MT_ECANCELED && !job->errand.is_done && pull(workers, job))
            error = MT_ECANCELED;
    }
    sched->external--;
    return error;
}
