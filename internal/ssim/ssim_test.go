package ssim

import (
	"image"
	"math"
	"math/rand/v2"
	"testing"
)

func noise(w, h int, seed uint64) Plane {
	p := newPlane(w, h)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range p.V {
		p.V[i] = 255 * r.Float64()
	}
	return p
}

func flat(w, h int, v float64) Plane {
	p := newPlane(w, h)
	for i := range p.V {
		p.V[i] = v
	}
	return p
}

// changed gives p with each sample as f has it.
func (p Plane) changed(f func(i int, v float64) float64) Plane {
	q := newPlane(p.W, p.H)
	for i, v := range p.V {
		q.V[i] = min(max(f(i, v), 0), 255)
	}
	return q
}

// slowSSIM is the definition: each window with its own 121 weights, variances and covariance as sums of squares around
// the mean.
func slowSSIM(a, b Plane) float64 {
	var weights [11][11]float64
	var total float64
	for y := range 11 {
		for x := range 11 {
			weights[y][x] = math.Exp(-float64((x-5)*(x-5)+(y-5)*(y-5)) / (2 * 1.5 * 1.5))
			total += weights[y][x]
		}
	}
	each := func(x0, y0 int, f func(k, va, vb float64)) {
		for y := range 11 {
			for x := range 11 {
				i := (y0+y)*a.W + x0 + x
				f(weights[y][x]/total, a.V[i], b.V[i])
			}
		}
	}
	var sum float64
	for y0 := range a.H - 10 {
		for x0 := range a.W - 10 {
			var ma, mb, sa, sb, sab float64
			each(x0, y0, func(k, va, vb float64) { ma += k * va; mb += k * vb })
			each(x0, y0, func(k, va, vb float64) {
				sa += k * (va - ma) * (va - ma)
				sb += k * (vb - mb) * (vb - mb)
				sab += k * (va - ma) * (vb - mb)
			})
			sum += (2*ma*mb + 6.5025) * (2*sab + 58.5225) / ((ma*ma + mb*mb + 6.5025) * (sa + sb + 58.5225))
		}
	}
	return sum / float64((a.W-10)*(a.H-10))
}

func TestMean(t *testing.T) {
	photo, other := noise(40, 31, 1), noise(40, 31, 2)
	near := photo.changed(func(i int, v float64) float64 { return v + (other.V[i]-128)/8 })
	negative := photo.changed(func(_ int, v float64) float64 { return 255 - v })
	for _, c := range []struct {
		name string
		a, b Plane
		want float64
	}{
		{"equal pictures are alike", photo, photo, 1},
		{"flat pictures differ in luminance alone", flat(20, 20, 100), flat(20, 20, 150), (2*100*150 + 6.5025) / (100*100 + 150*150 + 6.5025)},
		{"noise upon a picture, by the definition", photo, near, slowSSIM(photo, near)},
		{"two noises, by the definition", photo, noise(40, 31, 3), slowSSIM(photo, noise(40, 31, 3))},
		{"a negative, by the definition", photo, negative, slowSSIM(photo, negative)},
		{"one window", noise(11, 11, 4), noise(11, 11, 5), slowSSIM(noise(11, 11, 4), noise(11, 11, 5))},
	} {
		got, err := Mean(c.a, c.b)
		if err != nil || math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %v, %v, want %v", c.name, got, err, c.want)
		}
	}
	if v := slowSSIM(photo, negative); v > -0.9 {
		t.Errorf("a picture and its negative: %v", v)
	}
}

func TestMeanRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		a, b Plane
	}{
		{"other sizes", flat(20, 20, 0), flat(20, 21, 0)},
		{"other shapes of one area", flat(20, 40, 0), flat(40, 20, 0)},
		{"narrower than the window", flat(10, 20, 0), flat(10, 20, 0)},
		{"lower than the window", flat(20, 10, 0), flat(20, 10, 0)},
	} {
		if got, err := Mean(c.a, c.b); err == nil {
			t.Errorf("%s: %v, want an error", c.name, got)
		}
	}
}

// TestOf: a part of a larger picture, whose rows lie apart.
func TestOf(t *testing.T) {
	m := image.NewGray(image.Rect(0, 0, 9, 7))
	for i := range m.Pix {
		m.Pix[i] = uint8(i)
	}
	p := Of(m.SubImage(image.Rect(2, 3, 6, 5)).(*image.Gray))
	if p.W != 4 || p.H != 2 || len(p.V) != 8 {
		t.Fatalf("%dx%d with %d samples", p.W, p.H, len(p.V))
	}
	for i, v := range p.V {
		if want := float64((3+i/4)*9 + 2 + i%4); v != want {
			t.Errorf("sample %d is %v, want %v", i, v, want)
		}
	}
}
