/* Faults of the disk, by the number of a write: preloaded, inert until it is armed.
 *
 * Counts what a process and its children do to files below one folder (opening for writing, writing, renaming,
 * removing ...) in a small mapped file, so that the count outlives a kill, and does something else at the n-th.
 * torture/faults.py compiles and arms it. Reads are left alone, and what the C library writes for itself (fwrite)
 * is not seen; Python, torch.save into memory and Rust write by the calls below.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { NONE, KILL, KILL_AFTER, TEAR, FAIL, SHORT, STOP, CLOCK };

static char folder[PATH_MAX];
static size_t folder_length;
static _Atomic long *count;
static int log_fd = -1;
static long at;
static int action, error_number, lasting;
static volatile long set_back; /* seconds by which the clock is wrong */

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* Where a call stands: 0 go on, 1 fail with errno set, 2 write half of it, 3 kill once it is done, 4 write half and
 * be killed. */
enum { GO, REFUSED, HALF, THEN_KILL, HALF_KILL };

static void die(void) { syscall(SYS_kill, getpid(), SIGKILL); }

static int inside(const char *path, int at_fd, char *whole) {
    char base[PATH_MAX];
    if (!path) return 0;
    if (path[0] == '/') {
        snprintf(whole, PATH_MAX, "%s", path);
    } else {
        if (at_fd == AT_FDCWD) {
            if (syscall(SYS_getcwd, base, sizeof base) < 0) return 0;
        } else {
            char link[64];
            snprintf(link, sizeof link, "/proc/self/fd/%d", at_fd);
            long length = syscall(SYS_readlinkat, AT_FDCWD, link, base, sizeof base - 1);
            if (length < 0) return 0;
            base[length] = 0;
        }
        int written = snprintf(whole, PATH_MAX, "%s/%s", base, path);
        if (written < 0 || written >= PATH_MAX) return 0;
    }
    return !strncmp(whole, folder, folder_length) && (whole[folder_length] == '/' || !whole[folder_length]);
}

static int inside_fd(int fd, char *whole) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long length = syscall(SYS_readlinkat, AT_FDCWD, link, whole, PATH_MAX - 1);
    if (length <= 0) return 0;
    whole[length] = 0;
    return whole[0] == '/' && inside(whole, AT_FDCWD, (char[PATH_MAX]){0});
}

/* Counts one event and says what becomes of it. `data`: whether there are bytes of which half can be written;
 * `takes`: whether it takes room on the disk. */
static int event(const char *operation, const char *path, int data, int takes) {
    int before = errno;
    long number = atomic_fetch_add(count, 1) + 1;
    if (log_fd >= 0) {
        char line[PATH_MAX + 64];
        int length = snprintf(line, sizeof line, "%ld %s %s\n", number, operation, path + folder_length);
        if (length > 0) syscall(SYS_write, log_fd, line, (size_t)length);
    }
    errno = before;
    int due = number == at || (lasting && at > 0 && number > at);
    if (!due) return GO;
    switch (action) {
    case KILL: die(); return GO;
    case STOP:
        if (number == at) syscall(SYS_kill, getpid(), SIGSTOP);
        return GO;
    case CLOCK: set_back = 24 * 3600; return GO;
    case KILL_AFTER: return THEN_KILL;
    case TEAR:
        if (!data) die();
        return HALF_KILL;
    case SHORT:
        if (data && number == at) return HALF;
        __attribute__((fallthrough)); /* what comes behind a short write meets a full disk */
    case FAIL:
        if (!takes && (error_number == ENOSPC || error_number == EDQUOT)) return GO;
        errno = error_number;
        return REFUSED;
    }
    return GO;
}

/* Arms this process from its environment; returns 0, or -1 where a file cannot be mapped. */
int faults_arm(void) {
    const char *given = getenv("TORTURE_FOLDER"), *counter = getenv("TORTURE_COUNTER");
    const char *log = getenv("TORTURE_LOG"), *what = getenv("TORTURE_ACTION");
    if (!given || !counter || count) return 0;
    snprintf(folder, sizeof folder, "%s", given);
    folder_length = strlen(folder);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, counter, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || syscall(SYS_ftruncate, fd, 8L) < 0) return -1;
    void *mapped = mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    if (mapped == MAP_FAILED) return -1;
    if (log) log_fd = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    at = getenv("TORTURE_AT") ? atol(getenv("TORTURE_AT")) : 0;
    lasting = getenv("TORTURE_LASTING") != NULL;
    error_number = getenv("TORTURE_ERRNO") ? atoi(getenv("TORTURE_ERRNO")) : EIO;
    action = !what ? NONE
             : !strcmp(what, "kill") ? KILL
             : !strcmp(what, "kill-after") ? KILL_AFTER
             : !strcmp(what, "tear") ? TEAR
             : !strcmp(what, "short") ? SHORT
             : !strcmp(what, "stop") ? STOP
             : !strcmp(what, "clock") ? CLOCK
             : !strcmp(what, "fail") ? FAIL : NONE;
    count = mapped;
    return 0;
}

__attribute__((constructor)) static void begin(void) { faults_arm(); }

#define PATH_EVENT(operation, path, at_fd, takes, failed)                                   \
    int verdict = GO;                                                                       \
    char whole[PATH_MAX];                                                                   \
    if (count && inside(path, at_fd, whole)) verdict = event(operation, whole, 0, takes);   \
    if (verdict == REFUSED) return failed;

#define DONE(result)                        \
    do {                                    \
        __typeof__(result) done_ = (result); \
        if (verdict == THEN_KILL) die();    \
        return done_;                       \
    } while (0)

static int writes(int flags) { return (flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)) != 0; }

#define OPENS(name)                                                             \
    int name(const char *path, int flags, ...) {                                \
        va_list rest;                                                           \
        va_start(rest, flags);                                                  \
        int mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, int) : 0;     \
        va_end(rest);                                                           \
        if (!writes(flags)) return REAL(name)(path, flags, mode);               \
        PATH_EVENT("open", path, AT_FDCWD, 1, -1)                               \
        DONE(REAL(name)(path, flags, mode));                                    \
    }
OPENS(open)
OPENS(open64)

#define OPENS_AT(name)                                                          \
    int name(int at_fd, const char *path, int flags, ...) {                     \
        va_list rest;                                                           \
        va_start(rest, flags);                                                  \
        int mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, int) : 0;     \
        va_end(rest);                                                           \
        if (!writes(flags)) return REAL(name)(at_fd, path, flags, mode);        \
        PATH_EVENT("open", path, at_fd, 1, -1)                                  \
        DONE(REAL(name)(at_fd, path, flags, mode));                             \
    }
OPENS_AT(openat)
OPENS_AT(openat64)

#define OPENS_FILE(name)                                                        \
    FILE *name(const char *path, const char *mode) {                            \
        if (!strpbrk(mode, "wa+")) return REAL(name)(path, mode);               \
        PATH_EVENT("open", path, AT_FDCWD, 1, NULL)                             \
        DONE(REAL(name)(path, mode));                                           \
    }
OPENS_FILE(fopen)
OPENS_FILE(fopen64)

int creat(const char *path, mode_t mode) {
    PATH_EVENT("open", path, AT_FDCWD, 1, -1)
    DONE(REAL(creat)(path, mode));
}
int mkdir(const char *path, mode_t mode) {
    PATH_EVENT("mkdir", path, AT_FDCWD, 1, -1)
    DONE(REAL(mkdir)(path, mode));
}
int mkdirat(int at_fd, const char *path, mode_t mode) {
    PATH_EVENT("mkdir", path, at_fd, 1, -1)
    DONE(REAL(mkdirat)(at_fd, path, mode));
}
int unlink(const char *path) {
    PATH_EVENT("unlink", path, AT_FDCWD, 0, -1)
    DONE(REAL(unlink)(path));
}
int unlinkat(int at_fd, const char *path, int flags) {
    PATH_EVENT("unlink", path, at_fd, 0, -1)
    DONE(REAL(unlinkat)(at_fd, path, flags));
}
int rmdir(const char *path) {
    PATH_EVENT("rmdir", path, AT_FDCWD, 0, -1)
    DONE(REAL(rmdir)(path));
}
int rename(const char *from, const char *to) {
    PATH_EVENT("rename", to, AT_FDCWD, 1, -1)
    DONE(REAL(rename)(from, to));
}
int renameat(int from_fd, const char *from, int to_fd, const char *to) {
    PATH_EVENT("rename", to, to_fd, 1, -1)
    DONE(REAL(renameat)(from_fd, from, to_fd, to));
}
int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags) {
    PATH_EVENT("rename", to, to_fd, 1, -1)
    DONE(REAL(renameat2)(from_fd, from, to_fd, to, flags));
}
int link(const char *from, const char *to) {
    PATH_EVENT("link", to, AT_FDCWD, 1, -1)
    DONE(REAL(link)(from, to));
}
int symlink(const char *from, const char *to) {
    PATH_EVENT("symlink", to, AT_FDCWD, 1, -1)
    DONE(REAL(symlink)(from, to));
}
#define TRUNCATES(name, type)                          \
    int name(const char *path, type length) {          \
        PATH_EVENT("truncate", path, AT_FDCWD, 0, -1)  \
        DONE(REAL(name)(path, length));                \
    }
TRUNCATES(truncate, off_t)
TRUNCATES(truncate64, off64_t)

#define FD_EVENT(operation, fd, data, takes)                                              \
    int verdict = GO;                                                                     \
    char whole[PATH_MAX];                                                                 \
    if (count && inside_fd(fd, whole)) verdict = event(operation, whole, data, takes);    \
    if (verdict == REFUSED) return -1;

#define TRUNCATES_FD(name, type)         \
    int name(int fd, type length) {      \
        FD_EVENT("truncate", fd, 0, 0)   \
        DONE(REAL(name)(fd, length));    \
    }
TRUNCATES_FD(ftruncate, off_t)
TRUNCATES_FD(ftruncate64, off64_t)

int fsync(int fd) {
    FD_EVENT("fsync", fd, 0, 1)
    DONE(REAL(fsync)(fd));
}
int fdatasync(int fd) {
    FD_EVENT("fsync", fd, 0, 1)
    DONE(REAL(fdatasync)(fd));
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (set_back && clock == CLOCK_REALTIME && result == 0) now->tv_sec -= set_back;
    return result;
}

/* Half of what was to be written; of a single byte nothing. */
#define HALVES(half)                                   \
    if (verdict == HALF || verdict == HALF_KILL) {     \
        long done = (half);                            \
        if (verdict == HALF_KILL) die();               \
        return done;                                   \
    }

ssize_t write(int fd, const void *bytes, size_t size) {
    if (!count) return syscall(SYS_write, fd, bytes, size);
    FD_EVENT("write", fd, 1, 1)
    HALVES(syscall(SYS_write, fd, bytes, size / 2))
    DONE((ssize_t)syscall(SYS_write, fd, bytes, size));
}
#define WRITES_AT(name, type)                                         \
    ssize_t name(int fd, const void *bytes, size_t size, type place) { \
        FD_EVENT("write", fd, 1, 1)                                    \
        HALVES(REAL(name)(fd, bytes, size / 2, place))                 \
        DONE(REAL(name)(fd, bytes, size, place));                      \
    }
WRITES_AT(pwrite, off_t)
WRITES_AT(pwrite64, off64_t)

ssize_t writev(int fd, const struct iovec *parts, int number) {
    FD_EVENT("write", fd, 1, 1)
    HALVES(REAL(writev)(fd, parts, number / 2))
    DONE(REAL(writev)(fd, parts, number));
}
ssize_t copy_file_range(int from, off64_t *in, int to, off64_t *out, size_t size, unsigned flags) {
    FD_EVENT("write", to, 1, 1)
    HALVES(REAL(copy_file_range)(from, in, to, out, size / 2, flags))
    DONE(REAL(copy_file_range)(from, in, to, out, size, flags));
}
#define SENDS(name, type)                                           \
    ssize_t name(int to, int from, type *place, size_t size) {      \
        FD_EVENT("write", to, 1, 1)                                 \
        HALVES(REAL(name)(to, from, place, size / 2))               \
        DONE(REAL(name)(to, from, place, size));                    \
    }
#include <sys/sendfile.h>
SENDS(sendfile, off_t)
SENDS(sendfile64, off64_t)
