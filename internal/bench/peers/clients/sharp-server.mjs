// A server of pictures by sharp, as plain as it can be: GET /NAME?w=500&q=80 fetches NAME from the origin and answers a
// JPEG. `node sharp-server.mjs DIR ORIGIN PORT`, where DIR has node_modules/sharp.
import { createRequire } from 'node:module'
import { createServer } from 'node:http'
import { resolve } from 'node:path'

const [dir, origin, port] = process.argv.slice(2)
const sharp = createRequire(resolve(dir) + '/')('sharp')
sharp.concurrency(1)
sharp.cache(false)

const server = createServer(async (request, response) => {
	try {
		const url = new URL(request.url, origin)
		const original = await fetch(origin + url.pathname)
		if (!original.ok) {
			throw new Error(`the origin answered ${original.status}`)
		}
		const width = Number(url.searchParams.get('w'))
		const quality = Number(url.searchParams.get('q'))
		const body = await sharp(await original.arrayBuffer(), { ignoreIcc: true })
			.autoOrient()
			.resize({ width, withoutEnlargement: true })
			.jpeg({ quality, mozjpeg: false })
			.toBuffer()
		response.setHeader('Content-Type', 'image/jpeg')
		response.end(body)
	} catch (err) {
		response.statusCode = 502
		response.end(err.message)
	}
})
server.listen(Number(port), '127.0.0.1')
