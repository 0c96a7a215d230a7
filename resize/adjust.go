package resize

// Adjust changes colours. The zero value changes nothing. Steps run in the order of the fields.
type Adjust struct {
	// Enhance stretches the tones to the range there is, and lifts what is dull.
	Enhance bool

	// RedEye takes the red out of pupils. It needs Renderer.Faces.
	RedEye bool

	// NoiseReduction smooths what varies less than NoiseThreshold, −100 to 100; below zero it sharpens instead. Both are set or
	// neither.
	NoiseReduction, NoiseThreshold int

	Exposure   float64 // −100 to 100: in steps of light, ±100 being two stops
	Brightness float64 // −100 to 100
	Contrast   float64 // −100 to 100
	Gamma      float64 // −100 to 100
	Highlights float64 // −100 to 0: darkens what is bright
	Shadows    float64 // 0 to 100: lightens what is dark
	Hue        float64 // degrees [0, 360)
	Saturation float64 // −100 (gray) to 100
	Vibrance   float64 // −100 to 100: as Saturation, most for what is pale
	Invert     bool

	Sharpen       float64 // 0 to 100: of luma, over one pixel
	Unsharp       float64 // −100 to 100: unsharp mask
	UnsharpRadius float64 // pixels; zero means 2.5
}

func (a Adjust) form(f *form) {
	f.flag("enhance", a.Enhance)
	f.flag("redeye", a.RedEye)
	f.num("nr", float64(a.NoiseReduction))
	f.num("nrs", float64(a.NoiseThreshold))
	f.num("exp", a.Exposure)
	f.num("bri", a.Brightness)
	f.num("con", a.Contrast)
	f.num("gam", a.Gamma)
	f.num("high", a.Highlights)
	f.num("shad", a.Shadows)
	f.num("hue", a.Hue)
	f.num("sat", a.Saturation)
	f.num("vib", a.Vibrance)
	f.flag("inv", a.Invert)
	f.num("sharp", a.Sharpen)
	f.num("usm", a.Unsharp)
	f.num("usmrad", a.UnsharpRadius)
}

func (a Adjust) check(c *checker) {
	c.within("Adjust.NoiseReduction", float64(a.NoiseReduction), -100, 100)
	c.within("Adjust.NoiseThreshold", float64(a.NoiseThreshold), -100, 100)
	c.within("Adjust.Exposure", a.Exposure, -100, 100)
	c.within("Adjust.Brightness", a.Brightness, -100, 100)
	c.within("Adjust.Contrast", a.Contrast, -100, 100)
	c.within("Adjust.Gamma", a.Gamma, -100, 100)
	c.within("Adjust.Highlights", a.Highlights, -100, 0)
	c.within("Adjust.Shadows", a.Shadows, 0, 100)
	c.within("Adjust.Hue", a.Hue, 0, 360)
	c.within("Adjust.Saturation", a.Saturation, -100, 100)
	c.within("Adjust.Vibrance", a.Vibrance, -100, 100)
	c.within("Adjust.Sharpen", a.Sharpen, 0, 100)
	c.within("Adjust.Unsharp", a.Unsharp, -100, 100)
	c.within("Adjust.UnsharpRadius", a.UnsharpRadius, 0, 500)
}
