// Grades results of http-cache-tests, by the kinds and dependencies that its tests declare.
//
//   node grade.mjs SUITE_DIR RESULT.json          the counts, and each required test that does not pass
//   node grade.mjs SUITE_DIR A.json B.json …      a table of the counts, in Markdown
import fs from 'fs'
import path from 'path'

const [dir, ...files] = process.argv.slice(2)
const suites = (await import(path.join(path.resolve(dir), 'tests/index.mjs'))).default
const tests = suites.flatMap(s => s.tests.map(t => ({ ...t, suite: s.id }))).filter(t => !t.browser_only)

function grade (file) {
  const text = fs.readFileSync(file, 'utf8')
  const results = JSON.parse(text.slice(text.indexOf('{')))
  const count = { required: 0, optimal: 0, check: 0 }
  const missed = []
  for (const t of tests) {
    const kind = t.kind ?? 'required'
    const depends = (t.depends_on ?? []).find(id => results[id] !== true)
    if (results[t.id] === true && !depends) count[kind]++
    else if (kind === 'required') {
      missed.push(`${t.suite}/${t.id}: ${depends ? 'needs ' + depends : (results[t.id] ?? ['not run'])[1] ?? results[t.id]}`)
    }
  }
  return { name: path.basename(file, '.json'), count, missed }
}

const of = kind => tests.filter(t => (t.kind ?? 'required') === kind).length
const graded = files.map(grade)
if (graded.length > 1) {
  console.log(`| cache | required, of ${of('required')} | optimal, of ${of('optimal')} | check, of ${of('check')} |`)
  console.log('|---|--:|--:|--:|')
  for (const g of graded) console.log(`| ${g.name} | ${g.count.required} | ${g.count.optimal} | ${g.count.check} |`)
} else {
  const [g] = graded
  console.log(`${g.count.required} of ${of('required')} required, ${g.count.optimal} of ${of('optimal')} optimal, ${g.count.check} of ${of('check')} check`)
  for (const m of g.missed) console.log('missed ' + m)
  const floor = Number(process.env.REQUIRED ?? 0)
  if (g.count.required < floor) {
    console.log(`that is less than ${floor}`)
    process.exit(1)
  }
}
