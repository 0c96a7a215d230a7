/* The side of libvips: what ../client.go describes, over the library's own C interface.
 * cc -O2 -o vips vips.c $(pkg-config --cflags --libs vips) -lpthread
 *
 * One thread a picture (vips_concurrency_set(1)), no cache of operations, vips_thumbnail_buffer, which shrinks on load,
 * and the savers at their defaults but for the quality, no metadata, and optimal Huffman tables of JPEG, which the other
 * sides write, too.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <vips/vips.h>

#define MAX_INPUTS 32
#define MAX_WORKERS 64
#define MAX_WIDTHS 64

struct input {
	char name[64];
	void *data;
	size_t len;
} inputs[MAX_INPUTS];

int n_inputs;

struct ask {
	struct input *in;
	const char *format;
	int quality;
	int widths[MAX_WIDTHS], n_widths;
	int copies; /* each picture is made from its own copy of the input */
};

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static long long cpu_us(void)
{
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000LL + u.ru_utime.tv_usec + u.ru_stime.tv_usec;
}

/* make gives a picture that g_free frees, or NULL. */
static void *make(const struct ask *a, int width, size_t *len)
{
	VipsImage *m = NULL;
	void *out = NULL, *copy = NULL, *data = a->in->data;
	int failed;

	if (a->copies) {
		if (!(copy = malloc(a->in->len)))
			return NULL;
		data = memcpy(copy, data, a->in->len);
	}
	failed = vips_thumbnail_buffer(data, a->in->len, &m, width, "height", VIPS_MAX_COORD, "size", VIPS_SIZE_DOWN, NULL);
	if (!failed) {
		if (strcmp(a->format, "jpg") == 0)
			failed = vips_jpegsave_buffer(m, &out, len, "Q", a->quality, "strip", TRUE, "optimize_coding", TRUE, NULL);
		else if (strcmp(a->format, "webp") == 0)
			failed = vips_webpsave_buffer(m, &out, len, "Q", a->quality, "strip", TRUE, NULL);
		else
			failed = vips_pngsave_buffer(m, &out, len, "strip", TRUE, NULL);
	}
	if (m)
		g_object_unref(m);
	free(copy);
	return failed ? NULL : out;
}

struct shared {
	const struct ask *a;
	pthread_mutex_t mu; /* guards next */
	int next, count;    /* of a queue; count is 0 where time decides */
	double start, seconds;
};

struct worker {
	pthread_t thread;
	struct shared *s;
	int pictures, failed;
	double busy;
	size_t bytes;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	struct shared *s = w->s;

	for (;;) {
		int i = 0;
		if (s->count) {
			pthread_mutex_lock(&s->mu);
			i = s->next++;
			pthread_mutex_unlock(&s->mu);
			if (i >= s->count)
				break;
		} else if (w->busy >= s->seconds)
			break;
		void *out = make(s->a, s->a->widths[i % s->a->n_widths], &w->bytes);
		if (!out) {
			w->failed = 1;
			break;
		}
		g_free(out);
		w->pictures++;
		w->busy = now() - s->start;
	}
	vips_thread_shutdown();
	return NULL;
}

/* slot makes count pictures, or as many as fit into the seconds; 0, or -1 if one failed. */
static int slot(const struct ask *a, int count, double seconds, int n, int *pictures, double *busy, size_t *bytes)
{
	struct worker w[MAX_WORKERS] = { 0 };
	struct shared s = { .a = a, .mu = PTHREAD_MUTEX_INITIALIZER, .count = count, .start = now(), .seconds = seconds };
	int failed = 0;

	for (int i = 0; i < n; i++) {
		w[i].s = &s;
		if (pthread_create(&w[i].thread, NULL, work, &w[i]))
			abort();
	}
	for (int i = 0; i < n; i++) {
		pthread_join(w[i].thread, NULL);
		failed |= w[i].failed;
		*pictures += w[i].pictures;
		*busy += w[i].busy;
		*bytes = w[i].bytes;
	}
	return failed ? -1 : 0;
}

static const char *load(const char *name, const char *path)
{
	struct input *in = &inputs[n_inputs];
	gsize len;
	gchar *data;

	if (n_inputs == MAX_INPUTS || strlen(name) >= sizeof in->name)
		return "too many inputs, or too long a name";
	if (!g_file_get_contents(path, &data, &len, NULL))
		return "the file cannot be read";
	strcpy(in->name, name);
	in->data = data;
	in->len = len;
	n_inputs++;
	return NULL;
}

static const char *once(const struct ask *a, const char *path)
{
	size_t len;
	void *out = make(a, a->widths[0], &len);
	int ok = out && g_file_set_contents(path, out, len, NULL);

	g_free(out);
	return ok ? NULL : "failed";
}

static void answer(const char *error)
{
	char *c, *text;

	if (!error) {
		puts("ok");
		return;
	}
	text = g_strdup_printf("%s %s", error, vips_error_buffer());
	vips_error_clear();
	for (c = text; *c; c++)
		if (*c == '\n' || *c == '\t')
			*c = ' ';
	printf("error\t%s\n", text);
	g_free(text);
}

int main(int argc, char **argv)
{
	static char line[8192];

	(void) argc;
	if (VIPS_INIT(argv[0]))
		return 1;
	vips_concurrency_set(1);
	vips_cache_set_max(0);
	vips_cache_set_max_mem(0);
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("ready\tlibvips %s\n", vips_version_string());

	while (fgets(line, sizeof line, stdin)) {
		char **words = g_strsplit(g_strchomp(line), "\t", -1);
		int n = g_strv_length(words), pictures = 0, failed = 0, count, workers;
		double busy = 0, seconds, start;
		size_t bytes = 0;
		long long cpu;
		struct ask a = { 0 };

		if (n == 3 && strcmp(words[0], "load") == 0) {
			answer(load(words[1], words[2]));
			goto next;
		}
		if (n < 6) {
			answer("too few words");
			goto next;
		}
		for (int i = 0; i < n_inputs; i++)
			if (strcmp(inputs[i].name, words[1]) == 0)
				a.in = &inputs[i];
		for (char *p = words[2]; *p && a.n_widths < MAX_WIDTHS; p += *p == ',')
			a.widths[a.n_widths++] = strtol(p, &p, 10);
		a.format = words[3];
		a.quality = atoi(words[4]);
		if (!a.in || !a.n_widths) {
			answer("no such input, or no width");
			goto next;
		}
		if (strcmp(words[0], "once") == 0) {
			answer(once(&a, words[5]));
			goto next;
		}
		count = atoi(words[5]);
		seconds = atof(words[5]);
		workers = n == 7 ? atoi(words[6]) : 0;
		if (workers < 1 || workers > MAX_WORKERS) {
			answer("how many workers?");
			goto next;
		}
		cpu = cpu_us();
		if (strcmp(words[0], "run") == 0)
			failed = slot(&a, 0, seconds, workers, &pictures, &busy, &bytes);
		else if (strcmp(words[0], "jobs") == 0) {
			a.copies = 1;
			start = now();
			failed = slot(&a, count, 0, workers, &pictures, &busy, &bytes);
			busy = (now() - start) * workers;
		} else if (strcmp(words[0], "set") == 0) {
			double unused = 0;
			start = now();
			while (!failed && now() - start < seconds)
				failed = slot(&a, a.n_widths, 0, workers, &pictures, &unused, &bytes);
			busy = (now() - start) * workers;
		} else
			failed = 1;
		if (failed)
			answer("failed");
		else
			printf("ok\t%d\t%lld\t%lld\t%zu\n", pictures, (long long) (busy * 1e9), cpu_us() - cpu, bytes);
	next:
		g_strfreev(words);
	}
	return 0;
}
