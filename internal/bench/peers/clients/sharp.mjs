// The side of sharp: what ../client.go describes. `node sharp.mjs DIR`, where DIR has node_modules/sharp.
//
// One thread a picture (sharp.concurrency(1)), no cache, mozjpeg's encoder off, colour profiles ignored, as the other
// sides do, else sharp's defaults: 4:2:0, optimal Huffman tables, shrinking on load, Lanczos3.
import { createRequire } from 'node:module'
import { readFile, writeFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { resolve } from 'node:path'

const sharp = createRequire(resolve(process.argv[2]) + '/')('sharp')
sharp.concurrency(1)
sharp.cache(false)

const inputs = new Map()

const encode = {
	jpg: (s, quality) => s.jpeg({ quality, mozjpeg: false }),
	png: (s) => s.png(),
	webp: (s, quality) => s.webp({ quality }),
}

function make(input, width, format, quality) {
	return encode[format](sharp(input, { ignoreIcc: true }).autoOrient().resize({ width, withoutEnlargement: true }), quality).toBuffer()
}

async function again(workers, seconds, job) {
	const start = process.hrtime.bigint()
	const tally = { pictures: 0, busy: 0, bytes: 0 }
	await Promise.all(
		Array.from({ length: workers }, async () => {
			let busy = 0
			while (busy < seconds * 1e9) {
				tally.bytes = (await job()).length
				tally.pictures++
				busy = Number(process.hrtime.bigint() - start)
			}
			tally.busy += busy
		}),
	)
	return tally
}

async function setsAgain(workers, seconds, jobs) {
	const start = process.hrtime.bigint()
	const tally = { pictures: 0, busy: 0, bytes: 0 }
	while (tally.busy < seconds * 1e9 * workers) {
		let next = 0
		await Promise.all(
			Array.from({ length: workers }, async () => {
				while (next < jobs.length) {
					tally.bytes = (await jobs[next++]()).length
					tally.pictures++
				}
			}),
		)
		tally.busy = Number(process.hrtime.bigint() - start) * workers
	}
	return tally
}

async function answer([verb, name, ...args]) {
	if (verb === 'load') {
		inputs.set(name, await readFile(args[0]))
		return 'ok'
	}
	const input = inputs.get(name)
	if (!input) {
		throw new Error(`no input ${name} is loaded`)
	}
	const widths = args[0].split(',').map(Number)
	const jobs = widths.map((width) => () => make(input, width, args[1], Number(args[2])))
	if (verb === 'once') {
		await writeFile(args[3], await jobs[0]())
		return 'ok'
	}
	const seconds = Number(args[3])
	const workers = Number(args[4])
	const before = process.cpuUsage()
	let tally
	if (verb === 'run') {
		tally = await again(workers, seconds, jobs[0])
	} else if (verb === 'set') {
		tally = await setsAgain(workers, seconds, jobs)
	} else {
		throw new Error(`${verb} is unknown`)
	}
	const { user, system } = process.cpuUsage(before)
	return ['ok', tally.pictures, tally.busy, user + system, tally.bytes].join('\t')
}

const v = sharp.versions
console.log(`ready\tsharp ${v.sharp} (libvips ${v.vips}, mozjpeg ${v.mozjpeg}, libwebp ${v.webp}), node ${process.version}`)
for await (const line of createInterface({ input: process.stdin })) {
	console.log(await answer(line.split('\t')).catch((err) => `error\t${String(err.message).replace(/\s+/g, ' ')}`))
}
